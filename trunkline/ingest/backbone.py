"""From a model file to a backbone: its features named or found, at the file's image size or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from trunkline.errors import InvalidModel
from trunkline.graph.branching import with_branching
from trunkline.graph.branching_rule import DEFAULT_BRANCHING
from trunkline.graph.features import choose, cut_graph, finest_first, with_note
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.graph.input_size import pixels_of
from trunkline.ingest.read import read
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadKeywords, ReadOptions
from trunkline.ingest.weight_files import apply_weights, require_finite


def read_backbone(
    path: str | Path | Graph,
    *,
    taps: bool = False,
    options: ReadOptions = AS_THE_FILE_SAYS,
    **reading: Unpack[ReadKeywords],
) -> Graph:
    """Read a network up to its features, the finest first.

    Features that are not named are looked for at the file's own image size, and only then is the network read up to
    them at ``input_size``: a classifier's last layers often fit one size only.

    Args:
        path: Model file, or ``zoo:NAME``, or a Graph, which keeps its size.
        taps: Where no features are named: find one for each stride from 4 to 32, not the last alone.
        options: How to read the network; ``features`` are names of feature maps ``[N, C, H, W]``, or of the nodes
            that write them, and ``weights`` are needed up to them only.
        **reading: Options by name; see :class:`ReadOptions`.

    Raises:
        InvalidModel: The file cannot be read, or has no such feature maps; or the weights do not fit.
        UnsupportedOp: It holds operators that are not supported before the features.
        InvalidConfig: Tasks cannot part where ``branching`` says.
    """
    options = options.but(reading)
    # The weights and the branching points are those of the backbone, not of what follows it.
    network = replace(options, weights=None, branching=DEFAULT_BRANCHING)
    backbone = finest_first(read(path, options=network)) if options.features else _found(path, taps, network)
    if options.weights is not None:
        backbone = apply_weights(backbone, options.weights, limits=options.limits, allow_missing=options.allow_missing)
        require_finite(backbone)
    return backbone if options.branching.is_default else with_branching(backbone, options.branching)


def _found(path: str | Path | Graph, taps: bool, options: ReadOptions) -> Graph:
    """Return the network up to the features that are found."""
    whole = _whole(path, options)
    choice = choose(whole, taps=taps)
    names = [name_of(found.value) for found in choice.maps]
    ends_there = names == [name_of(value) for value in whole.outputs]
    found = whole
    if pixels_of(options.input_size) not in (None, shape_of(whole.input)[2:]):
        # Cut while it is read: what follows the features may not be readable at this size.
        asked: Sequence[str] = () if ends_there else names
        found = read(path, options=replace(options, features=asked), readable_only=ends_there)
    # The notes of the first reading hold for the second, which would add that it was cut where we said.
    backbone = Graph(cut_graph(found, names).model, whole.notes)
    return finest_first(backbone if ends_there else with_note(backbone, choice, whole=len(whole.nodes)))


def _whole(path: str | Path | Graph, options: ReadOptions) -> Graph:
    try:
        return read(path, options=replace(options, input_size=None), readable_only=True)
    except InvalidModel:
        if options.input_size is None:
            raise
        # The file may name no size of its own, or one that is too large.
        return read(path, options=options, readable_only=True)
