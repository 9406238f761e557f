"""Heads: Graph fragments that turn a backbone's features into a task's prediction.

A head is a Graph whose input is the features, ``[N, C, h, w]``. Its weights and nodes get the prefix
``head.<task>.`` in the multi-task model, and reports count it apart from the backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.ingest.graph import Graph, shape_of
from trunkline.supermodel.heads.aspp import aspp
from trunkline.supermodel.heads.light import light
from trunkline.supermodel.heads.linear import linear
from trunkline.supermodel.heads.user_file import user_file

Maker = Callable[[tuple[int, int, int], int, int], Graph]

KINDS: dict[str, Maker] = {"light": light, "aspp": aspp, "linear": linear}


def make_head(kind: str, backbone: Graph, channels: int) -> Graph:
    """Return a head for the features of ``backbone``.

    Args:
        kind: ``light``, ``aspp``, ``linear``, or the path of a model file that reads the features.
        backbone: Its first output is the features, ``[N, C, h, w]``.
        channels: Output channels K of the prediction, ``[N, K, h', w']`` (``[N, K]`` for ``linear``).

    Raises:
        InvalidConfig: The kind is unknown, or the features do not fit it.
    """
    features, image = shape_of(backbone.outputs[0]), shape_of(backbone.input)
    if kind not in KINDS and not Path(kind).exists():
        raise InvalidConfig(
            f"{kind!r} is neither a kind of head nor a file",
            advice=did_you_mean(kind, [*KINDS, "none"]) or f"kinds are {', '.join(KINDS)} and none",
        )
    if len(features) != 4:
        raise InvalidConfig(
            f"a head reads features [N, C, h, w], but {backbone.name} ends in {list(features)}",
            advice="use `--head none`, or cut the network at a feature map",
        )
    size = (int(features[1] or 0), int(features[2] or 0), int(features[3] or 0))
    if kind not in KINDS:
        return user_file(Path(kind), size)
    stride = max(1, round(int(image[2] or 1) / size[1]))
    return KINDS[kind](size, channels, stride)
