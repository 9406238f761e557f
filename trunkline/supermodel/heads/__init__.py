"""Heads: Graph fragments that turn a backbone's features into a task's prediction.

A head is a Graph whose input is the last feature map, ``[N, C, h, w]``, or that has an input for each of the
backbone's feature maps, the finest first. Its weights and nodes get the prefix ``head.<task>.`` in the multi-task
model, and reports count it apart from the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.ingest.graph import Graph, shape_of
from trunkline.ingest.limits import Limits
from trunkline.supermodel.heads.aspp import aspp
from trunkline.supermodel.heads.deeplabv3plus import deeplabv3plus
from trunkline.supermodel.heads.fpn import fpn
from trunkline.supermodel.heads.light import light
from trunkline.supermodel.heads.linear import linear
from trunkline.supermodel.heads.user_file import user_file

Size = tuple[int, int, int]

READING_LAST: dict[str, Callable[[Size, int, int], Graph]] = {"light": light, "aspp": aspp, "linear": linear}
"""Heads that read the last feature map: made from its size, the output channels and its stride."""
READING_ALL: dict[str, Callable[[Sequence[Size], int, int], Graph]] = {"deeplabv3plus": deeplabv3plus, "fpn": fpn}
"""Heads that read several feature maps: made from their sizes, the finest first."""
KINDS = (*READING_LAST, *READING_ALL)


def need_taps(kinds: Iterable[str]) -> bool:
    """Whether one of these kinds of heads reads several feature maps."""
    return any(kind in READING_ALL for kind in kinds)


def make_head(kind: str, backbone: Graph, channels: int, limits: Limits | None = None) -> Graph:
    """Return a head for the features of ``backbone``.

    Args:
        kind: ``light``, ``aspp``, ``linear``, ``deeplabv3plus``, ``fpn``, or the path of a model file that reads
            the last feature map.
        backbone: Its outputs are the feature maps, ``[N, C, h, w]``, the finest first.
        channels: Output channels K of the prediction, ``[N, K, h', w']`` (``[N, K]`` for ``linear``).
        limits: What a model file may ask for; the defaults where none are given.

    Raises:
        InvalidConfig: The kind is unknown, or the features do not fit it.
    """
    if kind not in KINDS and not Path(kind).exists():
        raise InvalidConfig(
            f"{kind!r} is neither a kind of head nor a file",
            advice=did_you_mean(kind, [*KINDS, "none"]) or f"kinds are {', '.join(KINDS)} and none",
        )
    sizes = _sizes(backbone)
    stride = max(1, round(int(shape_of(backbone.input)[2] or 1) / sizes[-1][1]))
    if kind in READING_ALL:
        return READING_ALL[kind](sizes, channels, stride)
    return (
        READING_LAST[kind](sizes[-1], channels, stride) if kind in KINDS else user_file(Path(kind), sizes[-1], limits)
    )


def _sizes(backbone: Graph) -> list[Size]:
    shapes = [shape_of(value) for value in backbone.outputs]
    for shape in shapes:
        if len(shape) != 4:
            raise InvalidConfig(
                f"a head reads features [N, C, h, w], but {backbone.name} ends in {list(shape)}",
                advice="use `--head none`, or cut the network at a feature map with --features",
            )
    return [(int(shape[1] or 0), int(shape[2] or 0), int(shape[3] or 0)) for shape in shapes]
