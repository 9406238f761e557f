"""Initial weights, described now and drawn later.

A prototxt holds no weights, and a search starts from random ones anyway. So a reader only records *how* a
weight starts (a :class:`Filler`, kept in the initializer's metadata) and gives it a lazy tensor: inspecting a
100 MB network allocates nothing. The draw depends on the weight's name and a seed, never on the order of
evaluation.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from trunkline.seeds import seed_of

FILLER_KEY = "trunkline.filler"

Kind = Literal["msra", "xavier", "gaussian", "uniform", "constant", "diagonal"]


@dataclass(frozen=True, slots=True)
class Filler:
    """How a weight starts.

    Attributes:
        kind: ``msra`` (He et al. 2015, normal with std √(2/n)), ``xavier`` (Glorot & Bengio 2010, uniform with
            bound √(3/n)), ``gaussian`` (std ``value``), ``uniform`` (bound ``value``), ``constant``, or ``diagonal``: a
            kernel by which output channel c is ``value`` times input channel c, at the centre of the window.
        value: The constant, standard deviation or bound; unused by ``msra`` and ``xavier``.
        fan: Which n the scaled kinds use: ``in``, ``out`` or ``average``, as Caffe names them.
        drawn_as: What the random stream is called; the weight's own name where empty. Lowering sets it, so that a copy
            starts with the same numbers whatever it is called.
    """

    kind: Kind = "msra"
    value: float = 0.0
    fan: Literal["in", "out", "average"] = "in"
    drawn_as: str = ""

    def spread(self, shape: tuple[int, ...]) -> float:
        """Return the standard deviation (``msra``, ``gaussian``) or bound (``xavier``, ``uniform``)."""
        if self.kind in ("gaussian", "uniform", "constant"):
            return self.value
        numerator = 2.0 if self.kind == "msra" else 3.0
        return math.sqrt(numerator / _fan(shape, self.fan))

    def draw(self, shape: tuple[int, ...], name: str, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the initial weight called ``name``, a pure function of the arguments."""
        if self.kind == "constant":
            return np.full(shape, self.value, dtype=np.float32)
        if self.kind == "diagonal":
            return _diagonal(shape, self.value)
        rng = np.random.default_rng(seed_of(self.drawn_as or name, seed))
        spread = np.float32(self.spread(shape))
        if self.kind in ("msra", "gaussian"):
            return rng.standard_normal(shape, dtype=np.float32) * spread
        return (rng.random(shape, dtype=np.float32) * 2 - 1) * spread

    def to_json(self) -> str:
        """Return the filler as the text kept in an initializer's metadata."""
        content: dict[str, Any] = {"kind": self.kind, "value": self.value, "fan": self.fan}
        if self.drawn_as:
            content["drawn_as"] = self.drawn_as
        return json.dumps(content)

    @classmethod
    def of(cls, value: ir.Value) -> Filler | None:
        """Return the filler recorded for an initializer, if its reader recorded one."""
        text = value.metadata_props.get(FILLER_KEY)
        return None if text is None else cls(**json.loads(text))


def lazy_weight(name: str, shape: tuple[int, ...], filler: Filler) -> ir.LazyTensor:
    """Return a float32 tensor that is drawn when first read."""

    def draw() -> ir.TensorProtocol:
        return ir.Tensor(filler.draw(shape, name), name=name)

    return ir.LazyTensor(draw, ir.DataType.FLOAT, ir.Shape(shape), cache=True, name=name)


def _diagonal(shape: tuple[int, ...], value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    kernel = np.zeros(shape, np.float32)
    # [out, in, kH, kW]; where there are more outputs than inputs, the last outputs are 0.
    centre = tuple(size // 2 for size in shape[2:])
    for channel in range(min(shape[:2])):
        kernel[channel, channel, *centre] = value
    return kernel


def _fan(shape: tuple[int, ...], fan: str) -> float:
    # [out, in/groups, kH, kW]. A weight of one axis, such as a bias or a scale, has only one number to go by.
    receptive = math.prod(shape[2:])
    inward = (shape[1] if len(shape) > 1 else shape[0]) * receptive
    outward = shape[0] * receptive
    return float({"in": inward, "out": outward, "average": (inward + outward) / 2}[fan])
