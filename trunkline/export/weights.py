"""Put trained weights into a Graph: an assignment by name, checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem, did_you_mean
from trunkline.graph.fillers import FILLER_KEY
from trunkline.graph.graph import Graph, array_of, shape_of
from trunkline.graph.roles import role_of
from trunkline.text import escaped, quoted, shape_text

Weights = Mapping[str, np.ndarray[Any, Any]]


def with_weights(graph: Graph, weights: Weights) -> Graph:
    """Return a copy of ``graph`` whose initializers hold ``weights``, cast to their element types.

    Every trainable parameter and every running statistic must be given; static arguments may be.

    Raises:
        InvalidModel: Names that are missing or unknown, shapes that differ, numbers that are not finite: all of them.
    """
    problems = [*_missing(graph, weights), *_wrong(graph, weights)]
    if problems:
        raise InvalidModel(problems)
    result = graph.copy()
    for name, array in weights.items():
        value = result.initializers[name]
        assert value.dtype is not None
        value.const_value = ir.Tensor(np.asarray(array).astype(value.dtype.numpy()), name=name)
        # A trained weight is no longer to be drawn.
        value.metadata_props.pop(FILLER_KEY, None)
    return result


def completed(graph: Graph, weights: Weights | None) -> Weights:
    """Return ``weights`` with the Graph's own, drawn where they are lazy, for what is not given."""
    given = weights or {}
    complete = {}
    for name, value in graph.initializers.items():
        if role_of(value) != "static":
            complete[name] = given[name] if name in given else array_of(value)
    return complete


def _missing(graph: Graph, weights: Weights) -> Iterator[Problem]:
    for name, value in graph.initializers.items():
        if name not in weights and role_of(value) != "static":
            yield Problem(f"no trained weight is given for {quoted(name)}, shape {shape_text(shape_of(value))}")


def _wrong(graph: Graph, weights: Weights) -> Iterator[Problem]:
    for name, array in weights.items():
        value = graph.initializers.get(name)
        if value is None:
            advice = did_you_mean(escaped(name), map(escaped, graph.initializers))
            yield Problem(f"the model has no weight called {quoted(name)}", advice=advice)
        elif tuple(array.shape) != shape_of(value):
            yield Problem(
                f"{quoted(name)} has shape {shape_text(array.shape)}; the model expects {shape_text(shape_of(value))}"
            )
        elif not np.isfinite(array).all():
            yield Problem(
                f"{quoted(name)} holds NaN or infinity", advice="the training diverged: use an earlier checkpoint"
            )
