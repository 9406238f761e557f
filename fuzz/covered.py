"""Which lines of a reader a sample of inputs reaches, counted without any package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from fuzz.target import Target

ROOT = Path(__file__).parents[1]


def covered(target: Target, seed: int, count: int) -> dict[str, tuple[int, int]]:
    """Return lines reached and lines there are, by file, for the first ``count`` inputs of a stream."""
    folder = str(ROOT / target.package)
    reached: dict[str, set[int]] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(folder):
            return None
        if event == "line":
            reached.setdefault(frame.f_code.co_filename, set()).add(frame.f_lineno)
        return trace

    seeds = target.seeds()
    sys.settrace(trace)
    try:
        for index in range(count):
            target.accepts(target.input(seeds, seed, index))
    finally:
        sys.settrace(None)
    found = {}
    for path in sorted(Path(folder).rglob("*.py")):
        if "write" in str(path.relative_to(folder)):  # writers lie beside their readers
            continue
        lines = set(_lines(compile(path.read_text(encoding="utf-8"), str(path), "exec")))
        if lines:
            found[str(path.relative_to(ROOT))] = (len(reached.get(str(path), set()) & lines), len(lines))
    return found


def _lines(code: CodeType, *, inside: bool = False) -> Iterator[int]:
    """Yield the lines of all functions; those of modules and classes run once, on import."""
    if inside:
        yield from (line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines(constant, inside=bool(constant.co_flags & 0x2))
