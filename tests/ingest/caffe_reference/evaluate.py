"""Run a net: every layer type, and the shapes of what it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from caffe_reference import (
    activation,
    affine,
    convolution,
    dense,
    joining,
    normalisation,
    pooling,
    rearranging,
    resizing,
    tensorflow,
)
from caffe_reference.net import Layer, Net, Param

Array = np.ndarray[Any, np.dtype[np.float64]]
Shape = tuple[int, ...]
Forward = Callable[[Layer, list[Array], Mapping[str, Array]], list[Array]]
Blobs = Callable[[Layer, list[Shape]], dict[str, Shape]]

FORWARD: dict[str, Forward] = {
    **activation.FORWARD,
    **affine.FORWARD,
    **convolution.FORWARD,
    **dense.FORWARD,
    **joining.FORWARD,
    **normalisation.FORWARD,
    **pooling.FORWARD,
    **rearranging.FORWARD,
    **resizing.FORWARD,
    **tensorflow.FORWARD,
}

BLOBS: dict[str, Blobs] = {
    **activation.BLOBS,
    **affine.BLOBS,
    **convolution.BLOBS,
    **dense.BLOBS,
    **normalisation.BLOBS,
}


@dataclass(frozen=True, slots=True)
class Weight:
    """A learned blob: the first layer that holds it, what it is called there, and Caffe's shape of it."""

    layer: str
    role: str
    shape: Shape


class _Owners:
    """Which layer holds each blob: blobs of one ``param`` name belong to the first layer that has it."""

    def __init__(self) -> None:
        self._shared: dict[str, tuple[str, str]] = {}

    def of(self, layer: Layer, bottoms: list[Array]) -> Iterator[tuple[str, tuple[str, str], Shape]]:
        """Yield role, owner and shape of each blob of a layer, in Caffe's order."""
        blobs = BLOBS.get(layer.type)
        shapes = blobs(layer, [bottom.shape for bottom in bottoms]) if blobs else {}
        names = [param.get("name", "") for param in Param(layer.fields).many("param")]
        # The first param is that of the first blob; a file may give fewer than there are blobs.
        for (role, shape), name in zip_longest(shapes.items(), names[: len(shapes)], fillvalue=""):
            own = (layer.name, role)
            yield role, self._shared.setdefault(name, own) if name else own, shape


def weight_shapes(net: Net) -> list[Weight]:
    """Every learned blob of ``net``, once; shapes are found by running it on one half everywhere."""
    found: dict[tuple[str, str], Weight] = {}
    owners = _Owners()

    def note(layer: Layer, bottoms: list[Array]) -> dict[str, Array]:
        blobs = {}
        for role, owner, shape in owners.of(layer, bottoms):
            found.setdefault(owner, Weight(*owner, shape))
            blobs[role] = np.ones(shape)
        return blobs

    _run(net, np.full((1, *net.image), 0.5), note)
    return list(found.values())


def evaluate(net: Net, image: Array, weights: Mapping[tuple[str, str], Array]) -> list[Array]:
    """What Caffe's TEST phase computes: the blobs that no layer reads, in order.

    Args:
        net: The network.
        image: ``[N, C, H, W]``.
        weights: By (layer name, role), in Caffe's shapes.
    """
    owners = _Owners()

    def look_up(layer: Layer, bottoms: list[Array]) -> dict[str, Array]:
        return {role: weights[owner] for role, owner, _ in owners.of(layer, bottoms)}

    blobs = _run(net, image.astype(np.float64), look_up)
    return [blobs[name] for name in net.outputs]


def _run(net: Net, image: Array, weights: Callable[[Layer, list[Array]], Mapping[str, Array]]) -> dict[str, Array]:
    blobs = {"data": image}
    for layer in net.layers:
        bottoms = [blobs[name] for name in layer.bottoms]
        tops = FORWARD[layer.type](layer, bottoms, weights(layer, bottoms))
        blobs.update(zip(layer.tops, tops, strict=True))
    return blobs
