"""Small files in which Linux tells of a device: a number or a word each; any may be missing, or refuse to be read."""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str | None:
    """Return the text of a file without the blanks around it; ``None`` where there is none to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    # A sensor that is switched off is there, and fails when it is read.
    except OSError:
        return None


def number_of(path: Path) -> int | None:
    """Return the whole number in a file; ``None`` where there is none."""
    text = text_of(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def numbers_in(path: Path) -> dict[str, int]:
    """Return the numbers of a file whose lines are ``name number``; other lines are left out."""
    found = {}
    for line in (text_of(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdecimal():
            found[name] = int(value)
    return found


def known(values: list[int | None]) -> list[int]:
    """Return those of ``values`` that are known."""
    return [value for value in values if value is not None]
