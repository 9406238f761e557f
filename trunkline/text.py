"""Text from files made safe and short, and shapes and counts as text: one way for messages, tables and pictures."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 80
BATCH = "N"


def printable(text: str, instead: str | None = None, *, keep: str = "") -> str:
    r"""Return ``text`` without anything that a terminal or a renderer might obey (also ANSI and right-to-left marks).

    Args:
        text: Anything, from anywhere.
        instead: What replaces such a character; its escape, as ``\x1b``, where None.
        keep: Characters to let through, such as a line break.
    """
    shown = [char if char.isprintable() or char in keep else instead or ascii(char)[1:-1] for char in text]
    return "".join(shown)


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return ``text`` with at most ``longest`` characters; where some are cut off, it ends in ``…``."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def escaped(name: str, longest: int = LONGEST) -> str:
    """Return a name as one short line that no terminal obeys."""
    return printable(shortened(name, longest))


def quoted(name: str) -> str:
    """Return ``name`` in double quotes, :func:`escaped`; quotes and backslashes in it are escaped as in JSON."""
    marked = shortened(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(marked)}"'


def shape_text(shape: Iterable[object] | None, most: int = LONGEST) -> str:
    """Return a shape as ``[N, 64, 7, 7]``: the batch axis, a size of None, is N.

    Args:
        shape: Sizes, or names of sizes; None for a shape that is not known.
        most: Axes that are shown; a hostile file may declare a thousand.
    """
    if shape is None:
        return "unknown"
    sizes = [BATCH if size is None else str(size) for size in shape]
    return f"[{', '.join(sizes[:most])}{', …' if len(sizes) > most else ''}]"


def with_thousands(count: float) -> str:
    """Return a count with thousands separators: ``1,234,567``."""
    return f"{count:,.0f}"
