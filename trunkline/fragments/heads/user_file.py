"""A head of the user's own: from a model file, or a Graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trunkline.errors import InvalidConfig, InvalidModel, Problem
from trunkline.fragments.map_size import Size
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.ingest.head_file import maps_read, read_head
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.text import quoted, shape_text


def user_file(path: Path, taps: Sequence[tuple[str, Size]], channels: int, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """Read a head from ``path`` and check that it predicts ``channels`` from the last feature maps.

    Args:
        path: A model file with an input for each map it reads, the finest first.
        taps: Names and sizes ``[C, h, w]`` of the backbone's feature maps, the finest first.
        channels: Output channels of the task.
        limits: What the file may ask for.

    Raises:
        InvalidConfig: The head does not fit the maps, or the task; every misfit is named.
        InvalidModel: The file cannot be read.
    """
    count = maps_read(path, limits)
    if count > len(taps):
        raise InvalidConfig(
            f"the head reads {count} feature maps; the backbone gives {len(taps)}",
            place=str(path),
            advice=f"name {count} with --features, the finest first",
        )
    read = taps[-count:]
    try:
        head = read_head(path, [size for _, size in read], limits)
    except InvalidModel as error:
        # The sizes are ours, not the file's, so a message about them must name where they come from.
        maps = ", ".join(f"{quoted(name)} {_with_batch(size)}" for name, size in read)
        fed = f"the head is fed the feature maps {maps}"
        # The same kind of error, so that an unsupported operator stays one.
        raise type(error)([replace(item, advice=item.advice or fed) for item in error.problems]) from error
    return check_head(head, read, channels, str(path))


def check_head(head: Graph, taps: Sequence[tuple[str, Size]], channels: int, place: str) -> Graph:
    """Return ``head`` if it reads maps like the last of ``taps`` and predicts ``channels``.

    Args:
        head: A Graph with an input for each of the last feature maps that it reads.
        taps: Names and sizes ``[C, h, w]`` of the backbone's feature maps, the finest first.
        channels: Output channels of the task.
        place: Where the head comes from, for messages.

    Raises:
        InvalidConfig: It reads or predicts something else; every misfit is named.
    """
    inputs = head.model.graph.inputs
    if len(inputs) > len(taps):
        text = f"the head reads {len(inputs)} feature maps; the backbone gives {len(taps)}"
        raise InvalidConfig(text, place=place, advice="name as many with --features, the finest first")
    problems = []
    for value, (tap, size) in zip(inputs, taps[-len(inputs) :], strict=True):
        shape = shape_of(value)
        if shape[1:] != size:
            reads = f"its input {quoted(name_of(value))} reads {shape_text(shape)}"
            problems.append(Problem(f"{reads}; the feature map {quoted(tap)} is {_with_batch(size)}", place))
    problems += _output_problems(head, channels, place)
    if problems:
        raise InvalidConfig(problems)
    return head


def _output_problems(head: Graph, channels: int, place: str) -> list[Problem]:
    if len(head.outputs) != 1:
        return [Problem(f"a head has one output, this has {len(head.outputs)}", place)]
    shape = shape_of(head.outputs[0])
    # Only the second axis: a map's size may be any, and a head for one label per image has no further axes.
    if shape[1:2] == (channels,):
        return []
    text = f"its output is {shape_text(shape)}; the task has {channels} channels"
    advice = f"if that is what it should have, give the task as NAME:{shape[1]}" if len(shape) > 1 else ""
    return [Problem(text, place, advice)]


def _with_batch(size: Size) -> str:
    """Return a map's size as text, with the batch axis, so that it can be compared with a file's input."""
    return shape_text((None, *size))
