"""Check that all text in an ONNX file is UTF-8.

protobuf hands over other text as bytes without a word, and nothing that reads names later expects bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

from trunkline.errors import Problem
from trunkline.text import quoted


def text_problems(message: Message, place: str) -> Iterator[Problem]:
    """Yield every text in ``message``, or in what it holds, that is not UTF-8."""
    # protobuf declares these two as bytes, so it checks nothing; what is read of them here is text.
    if isinstance(message, onnx.AttributeProto) and not all(map(_is_text, [message.s, *message.strings])):
        yield Problem(
            f"the attribute {quoted(message.name)} holds text that is not UTF-8", place, "export the model again"
        )
    for field, content in message.ListFields():
        # A repeated field comes as a container, any other as its content.
        items = [content] if isinstance(content, str | bytes | int | float | Message) else content
        if field.type == field.TYPE_MESSAGE:
            for item in items:
                yield from text_problems(item, place)
        elif field.type == field.TYPE_STRING:
            for item in (item for item in items if isinstance(item, bytes)):
                shown = quoted(item.decode(errors="replace"))
                yield Problem(f"{field.full_name} {shown} is not UTF-8", place, "export the model again")


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
