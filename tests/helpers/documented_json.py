"""Compares what a command prints with what ``docs/json.md`` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from commands import ROOT, Said


def documented() -> dict[str, set[str]]:
    """Return the keys in ``docs/json.md`` by command."""
    sections = re.split(r"^## (\S+)$", (ROOT / "docs" / "json.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    cells = {
        command: [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
        for command, text in zip(sections[::2], sections[1::2], strict=True)
    }
    keys = {command: {key for cell in row for key in re.findall(r"`([^`]+)`", cell)} for command, row in cells.items()}
    keys["run"] = {key for key in keys["run"] if key not in keys} | {
        f"{command}.{key}" for command in keys["run"] & set(keys) for key in keys[command]
    }
    return keys


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every leaf; of an empty or absent part, the path up to it."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            part = key.replace(".", "·")  # a name with a dot, as joins have, is one part of the path
            yield from leaves(item, f"{path}.{part}" if path else part)
    elif isinstance(value, list) and value:
        for item in value:
            yield from leaves(item, path + "[]")
    else:
        yield path


def matches(key: str, path: str) -> bool:
    """Whether a documented key is this path, or lies inside this empty part."""
    parts = [r"[^.\[\]]+" if part == "*" else re.escape(part) for part in re.split(r"(\[\]|\.|\*)", key) if part]
    return any(re.fullmatch("".join(parts[:length]), path) for length in range(1, len(parts) + 1))


def check_keys(command: str, content: Any) -> None:
    keys, paths = documented()[command], set(leaves(content))
    unknown = {path for path in paths if not any(matches(key, path) for key in keys)}
    assert not unknown, f"not in docs/json.md: {unknown}"
    absent = {key for key in keys if not any(matches(key, path) for path in paths)}
    assert not absent, f"in docs/json.md, but not printed: {absent}"


def only_json(said: Said) -> Any:
    assert said.code == 0, said.err
    assert said.out.startswith("{")
    assert said.out.endswith("}\n")
    return said.json
