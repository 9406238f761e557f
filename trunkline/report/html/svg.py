"""Elements of drawings: every attribute and text is escaped, and marks tell more by pointer or keyboard."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from trunkline.text import printable, shortened

_LONGEST_TIP = 400


def element(tag: str, *inside: str | Markup, **attributes: float | str) -> Markup:
    """Return an element; an underscore in the name of an attribute is a hyphen, one at its end is left out.

    >>> element("text", "a < b", x=1.25, text_anchor="end", class_="faint")
    Markup('<text x="1.2" text-anchor="end" class="faint">a &lt; b</text>')
    """
    pairs = "".join(f' {_name(name)}="{_escaped(_value(value))}"' for name, value in attributes.items())
    content = "".join(piece if isinstance(piece, Markup) else _escaped(piece) for piece in inside)
    return Markup(f"<{tag}{pairs}>{content}</{tag}>")  # noqa: S704  # all that is put into it is escaped


def mark(tip: str, shapes: Iterable[Markup], first: bool = False) -> Markup:
    """Return a group that tells ``tip``; of a drawing's marks, Tab reaches the first, arrow keys lead to the others."""
    text = shortened(tip, _LONGEST_TIP)
    return element("g", *shapes, class_="mark", role="img", aria_label=text, data_tip=text, tabindex=-int(not first))


def drawing(width: float, height: float, label: str, shapes: Iterable[Markup]) -> Markup:
    """Return the drawing, as wide as there is room for."""
    box = f"0 0 {_value(width)} {_value(height)}"
    size = {"width": _value(width), "height": _value(height)}
    return element("svg", *shapes, viewBox=box, role="group", aria_label=label, class_="drawing", **size)


def _name(name: str) -> str:
    # SVG has attributes in camel case, which stay as they are.
    return name.rstrip("_").replace("_", "-")


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    return str(escape(printable(text)))
