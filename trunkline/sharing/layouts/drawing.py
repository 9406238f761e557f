"""A layout as text: a branch a line, from the image on the left to the tasks on the right."""

from __future__ import annotations

from trunkline.sharing.layouts.layout import Group, Layout


def drawn(layout: Layout) -> str:
    """Return a layout as lines of text; ``──`` is a block that is run.

    >>> tree = [[["a", "b", "c"]]] * 2 + [[["a", "c"], ["b"]]] + [[["a"], ["c"], ["b"]]]
    >>> print(drawn(Layout.of(["a", "b", "c"], tree)))
    ────┬─┬─ a
        │ └─ c
        └─── b
    """
    return "\n".join(_branches(layout, 0, layout.tasks))


def _branches(layout: Layout, block: int, group: Group) -> list[str]:
    """Return the lines of the tasks that are together before a block."""
    start, depth = block, len(layout.blocks)
    while block < depth and group in layout.blocks[block]:
        block += 1
    trunk = "──" * (block - start)
    if block == depth:
        return [f"{trunk} {', '.join(group)}"]
    parts = [part for part in layout.blocks[block] if set(part) <= set(group)]
    lines: list[str] = []
    for number, part in enumerate(parts):
        is_first, is_last = number == 0, number == len(parts) - 1
        for row, line in enumerate(_branches(layout, block, part)):
            lead = trunk if is_first and row == 0 else " " * len(trunk)
            corner = "┬" if is_first else "└" if is_last else "├"
            beside = " " if is_last else "│"
            # The corner takes the place of the first half of the first block behind it.
            lines.append(lead + (corner if row == 0 else beside) + line[1:])
    return lines
