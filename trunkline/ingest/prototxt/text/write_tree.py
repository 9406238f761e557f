"""A tree → protobuf text format: the inverse of :mod:`trunkline.ingest.prototxt.text.tree`."""

from __future__ import annotations

from trunkline.ingest.prototxt.text.tree import Message, Scalar, TextField

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def write(message: Message) -> str:
    """Return the text of a message, one field a line; reading it back gives an equal message.

    >>> from trunkline.ingest.prototxt.text.source import Source
    >>> from trunkline.ingest.prototxt.text.tree import parse
    >>> print(write(parse(Source('layer <type: "ReLU" top: "x">', "net.prototxt"))), end="")
    layer {
      type: "ReLU"
      top: "x"
    }
    """
    lines: list[str] = []
    # A stack of our own, so that no depth of blocks meets Python's limit of calls; None closes a block.
    todo: list[tuple[int, TextField | None]] = [(0, item) for item in reversed(message.fields)]
    while todo:
        depth, item = todo.pop()
        indent = "  " * depth
        if item is None:
            lines.append(f"{indent}}}")
        elif isinstance(item.value, Scalar):
            lines.append(f"{indent}{item.name}: {_scalar(item.value)}")
        else:
            lines.append(f"{indent}{item.name} {{")
            todo.append((depth, None))
            todo.extend((depth + 1, inner) for inner in reversed(item.value.fields))
    return "\n".join([*lines, ""])


def _scalar(value: Scalar) -> str:
    if not value.quoted:
        return value.text
    return '"' + "".join(map(_escape, value.text.translate(_ESCAPES))) + '"'


def _escape(char: str) -> str:
    """Write what is neither printable nor harmless as the octal bytes of its UTF-8 form."""
    return char if char.isprintable() else "".join(f"\\{byte:03o}" for byte in char.encode())
