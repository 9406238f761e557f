"""A head from the user's own model file."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import InvalidConfig
from trunkline.ingest.graph import Graph, shape_of
from trunkline.ingest.limits import Limits
from trunkline.ingest.read import read


def user_file(path: Path, features: tuple[int, int, int], limits: Limits | None = None) -> Graph:
    """Read a head from ``path`` and check that it takes features ``[C, h, w]``.

    Raises:
        InvalidConfig: It reads another number of channels, or has several outputs.
    """
    head = read(path, input_size=features[1:], limits=limits)
    channels = shape_of(head.input)[1]
    if channels != features[0]:
        raise InvalidConfig(f"the head reads {channels} channels, the backbone gives {features[0]}", place=str(path))
    if len(head.outputs) != 1:
        raise InvalidConfig(f"a head has one output, this has {len(head.outputs)}", place=str(path))
    return head
