"""The same nets as other files write them: Caffe's V1 layers, ways to declare the image, enum numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from caffe_reference.cases import chains, functions, joins, moves, norms, products, windows
from caffe_reference.cases.parts import Rng, pick
from caffe_reference.net import V1_TYPES, Form, Net

_SOURCES = {**windows.GRID, **products.GRID, **functions.GRID, **norms.GRID, **joins.GRID, **moves.GRID, **chains.GRID}


def _as(*forms: Form):
    def draw(rng: Rng) -> Iterator[Net]:
        for source in _SOURCES.values():
            nets = list(source(rng))
            for place in rng.permutation(len(nets))[:20]:
                form = pick(rng, forms)
                if form != "V1" or all(layer.type in V1_TYPES for layer in nets[place].layers):
                    yield replace(nets[place], form=form)

    return draw


GRID = {"V1 layers": _as("V1"), "image forms": _as("input_dim", "Input"), "enums as numbers": _as("numbers")}
