"""A picture of a network's blocks and branching points, as one SVG that needs nothing else.

Blocks are drawn below each other, because they form a chain: it is cut where one tensor is all that goes on.
The circles between them are the branching points. The bars show each block's share of the MACs and parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from trunkline.graph.blocks import Block
from trunkline.text import printable, shape_text

_WIDTH, _ROW, _TOP = 980, 44, 96
_LINE, _BOX, _BOX_WIDTH, _SHAPE, _BARS, _BAR_WIDTH = 34, 58, 400, 474, 640, 250
_INK, _FAINT, _MACS, _PARAMETERS, _FILL = "#1f2933", "#7b8794", "#2f6fb0", "#d98e32", "#f3f6fa"
_NAME_LENGTH, _SUMMARY_LENGTH = 44, 58


def block_picture(title: str, blocks: Sequence[Block], summaries: Sequence[str], taps: Sequence[str] = ()) -> str:
    """Return the SVG text.

    Args:
        title: The network's name.
        blocks: The network's blocks, from the image on.
        summaries: What each block holds, in a few words.
        taps: Names of outputs; the blocks that write them are marked.
    """
    height = _TOP + _ROW * len(blocks) + 40
    body = [*_heading(title, blocks), *_chain(len(blocks))]
    for index, (block, summary) in enumerate(zip(blocks, summaries, strict=True)):
        # A tap may lie inside a block; it is then known by a node's name.
        is_tapped = bool(set(taps) & {block.output, *block.nodes})
        body += _block(index, block, summary, blocks, is_tapped)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _heading(title: str, blocks: Sequence[Block]) -> Iterator[str]:
    macs, parameters = _totals(blocks)
    yield _text(24, 30, _short(title, 70), size=17, weight="bold", tip=title)
    first = shape_text(blocks[0].input_shape) if blocks else ""
    facts = f"{len(blocks)} blocks · {_count(macs)} MACs · {_count(parameters)} parameters · image {first}"
    yield _text(24, 52, facts, colour=_FAINT)
    yield _text(_BOX, _TOP - 14, "block", colour=_FAINT)
    yield _text(_SHAPE, _TOP - 14, "output", colour=_FAINT)
    yield _text(_BARS, _TOP - 14, "MACs %", colour=_MACS)
    yield _text(_BARS + 60, _TOP - 14, "parameters %", colour=_PARAMETERS)


def _chain(count: int) -> Iterator[str]:
    end = _TOP + _ROW * count
    yield f'<line x1="{_LINE}" y1="{_TOP - 8}" x2="{_LINE}" y2="{end}" stroke="{_FAINT}" stroke-width="2"/>'
    for index in range(count + 1):
        y = _TOP - 4 + _ROW * index
        yield f'<circle cx="{_LINE}" cy="{y}" r="5" fill="white" stroke="{_INK}" stroke-width="2"/>'


def _block(index: int, block: Block, summary: str, blocks: Sequence[Block], tapped: bool) -> Iterator[str]:
    y = _TOP + _ROW * index
    border = _MACS if tapped else "#cbd2d9"
    yield (
        f'<rect x="{_BOX}" y="{y}" width="{_BOX_WIDTH}" height="{_ROW - 8}" rx="6" fill="{_FILL}" stroke="{border}"'
        f' stroke-width="{2 if tapped else 1}"/>'
    )
    yield _text(_BOX + 10, y + 15, f"{index}  {_short(block.name, _NAME_LENGTH)}", weight="bold", tip=block.name)
    yield _text(_BOX + 10, y + 30, _short(summary, _SUMMARY_LENGTH), colour=_FAINT, tip=summary)
    yield _text(_SHAPE, y + 22, shape_text(block.output_shape))
    yield from _bar(y + 7, _MACS, block.cost.macs, [each.cost.macs for each in blocks])
    yield from _bar(y + 20, _PARAMETERS, block.cost.parameters, [each.cost.parameters for each in blocks])


def _bar(y: float, colour: str, part: int, parts: Sequence[int]) -> Iterator[str]:
    """Draw a bar as long as ``part`` is next to the largest of ``parts``, with its share of their sum."""
    # A block without any still shows a line, and a network of no MACs at all does not divide by zero.
    width = max(1.0, _BAR_WIDTH * part / max(1, *parts))
    yield f'<rect x="{_BARS}" y="{y}" width="{width:.1f}" height="9" rx="2" fill="{colour}"/>'
    yield _text(_BARS + width + 6, y + 8, f"{100 * part / max(1, sum(parts)):.1f}", size=10, colour=_FAINT)


def _totals(blocks: Sequence[Block]) -> tuple[int, int]:
    return sum(block.cost.macs for block in blocks), sum(block.cost.parameters for block in blocks)


def _text(
    x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", colour: str = _INK, tip: str = ""
) -> str:
    # A tip shows what was shortened; the whole text in the picture needs none.
    title = f"<title>{_clean(tip)}</title>" if tip not in text else ""
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}">'
        f"{title}{_clean(text)}</text>"
    )


def _clean(text: str) -> str:
    """Escape what a stranger's file calls its layers; characters that XML forbids are shown as a box."""
    return escape(printable(text, "\N{WHITE SQUARE}"))


def _short(text: str, length: int) -> str:
    # Names of nodes differ at their ends, so the middle is left out.
    return text if len(text) <= length else text[: length // 2] + "…" + text[-(length // 2) :]


def _count(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number} "
