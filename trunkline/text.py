"""Names from files, made safe and short for messages."""

from __future__ import annotations

LONGEST = 80


def quoted(name: str) -> str:
    """Return ``name`` in quotes, made safe by :func:`escaped`."""
    return f'"{escaped(name)}"'


def escaped(name: str, longest: int = LONGEST) -> str:
    """Return ``name`` with control characters escaped (also ANSI and right-to-left marks), and cut if long."""
    shown = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)
