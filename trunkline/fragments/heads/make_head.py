"""Heads: Graph fragments that turn a backbone's features into a task's prediction.

A head is a Graph whose inputs are the last of the backbone's feature maps, ``[N, C, h, w]``, the finest first: one,
several or all. Its weights and nodes get the prefix ``head.<task>.`` in the multi-task model, and reports count it
apart from the backbone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.fragments.heads.base import HeadKind
from trunkline.fragments.heads.user_file import check_head, user_file
from trunkline.fragments.map_size import Size, map_size
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.ingest.head_file import maps_read
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.scan import kinds_in
from trunkline.text import quoted, shape_text


def head_kinds() -> Mapping[str, type[HeadKind]]:
    """Return all kinds of heads by name. No list is kept: a file put beside the others is one of them.

    >>> [name for name, kind in head_kinds().items() if kind.reads_all]
    ['deeplabv3plus', 'fpn']
    """
    return kinds_in("trunkline.fragments.heads", HeadKind)  # type: ignore[type-abstract]  # the interface itself


def need_taps(kinds: Iterable[str | Path | Graph], limits: Limits = DEFAULT_LIMITS) -> bool:
    """Whether one of these kinds of heads reads several feature maps.

    Raises:
        InvalidModel: A head's file cannot be read.
    """
    return any(_reads_several(kind, limits) for kind in kinds)


def _reads_several(kind: str | Path | Graph, limits: Limits) -> bool:
    if isinstance(kind, Graph):
        return len(kind.model.graph.inputs) > 1
    # A kind may be given as a Path too, and is one before a file of its name.
    known = head_kinds().get(str(kind))
    if known is not None:
        return known.reads_all
    # A misspelt kind is no file either; it is refused where the head is made.
    return Path(kind).exists() and maps_read(Path(kind), limits) > 1


def make_head(
    kind: str | Path | Graph,
    backbone: Graph,
    channels: int,
    limits: Limits = DEFAULT_LIMITS,
    *,
    stride: int | None = None,
) -> Graph:
    """Return a head for the features of ``backbone``.

    Args:
        kind: Name of a kind (see :func:`head_kinds`); or a Graph or the path of a model file, with an input for each of
            the last feature maps that it reads.
        backbone: Its outputs are the feature maps, ``[N, C, h, w]``, the finest first.
        channels: Output channels K of the prediction, ``[N, K, h', w']`` (``[N, K]`` for ``linear``).
        limits: What a model file may ask for.
        stride: Pixels of the image between two positions of the last map; what their sizes come to where None.

    Raises:
        InvalidConfig: The kind is unknown, or the features do not fit it.

    >>> from trunkline.graph.builder import GraphBuilder
    >>> builder = GraphBuilder("backbone")
    >>> image = builder.image("image", (3, 64, 64))
    >>> pooling = {"kernel_shape": [16, 16], "strides": [16, 16]}
    >>> backbone = builder.finish([builder.node("MaxPool", [image], name="features", attributes=pooling)])
    >>> head = make_head("light", backbone, channels=5)
    >>> shape_of(head.input), shape_of(head.outputs[0])
    ((None, 3, 4, 4), (None, 5, 8, 8))
    """
    sizes = _map_sizes(backbone)
    taps = list(zip((name_of(value) for value in backbone.outputs), sizes, strict=True))
    if isinstance(kind, Graph):
        return check_head(kind, taps, channels, kind.name)
    known = head_kinds()
    if str(kind) in known:
        made = known[str(kind)]()
        return made.make(sizes if made.reads_all else sizes[-1:], channels, stride or stride_of(backbone))
    if not Path(kind).exists():
        raise InvalidConfig(
            f"{quoted(str(kind))} is neither a kind of head nor a file",
            advice=did_you_mean(str(kind), [*known, "none"]) or f"kinds are {', '.join(known)} and none",
        )
    return user_file(Path(kind), taps, channels, limits)


def stride_of(backbone: Graph) -> int:
    """Return how many pixels of the image lie between two positions of the last feature map."""
    last = _map_sizes(backbone)[-1]
    # Rounded: a map's size was itself rounded, so the quotient need not be whole.
    return max(1, round(int(shape_of(backbone.input)[2] or 1) / last[1]))


def _map_sizes(backbone: Graph) -> list[Size]:
    sizes = []
    for value in backbone.outputs:
        shape = shape_of(value)
        # A backbone with its classifier still on ends in [N, classes].
        if len(shape) != 4:
            raise InvalidConfig(
                f"a head reads features [N, C, h, w], but {quoted(backbone.name)} ends in {shape_text(shape)}",
                advice="use `--head none`, or cut the network at a feature map with --features",
            )
        sizes.append(map_size(shape))
    return sizes
