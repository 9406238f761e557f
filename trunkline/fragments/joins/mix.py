"""``mix``: a weighted sum of equally shaped values, as in Cross-Stitch Networks (Misra et al. 2016, Eq. 1).

One weight a value (``per = "tensor"``), or one a value and channel (``per = "channel"``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs, JoinKind, JoinSettings, reading
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.text import shape_text

Finite = Annotated[float, Field(allow_inf_nan=False)]


class MixSettings(JoinSettings):
    """A mix, as a plan gives it.

    Attributes:
        starts: Initial weight of each read, in order, of those that are left out too.
        per: Whether a value has one weight, or one for each channel.
    """

    starts: tuple[Finite, ...] = Field(min_length=1)
    per: Literal["tensor", "channel"] = "tensor"


class Mix(JoinKind):
    """Σ_k a_k · x_k with trainable a_k.

    >>> fragment = Mix().make({0: (8, 4, 4), 1: (8, 4, 4)}, MixSettings(starts=(0.9, 0.1), per="channel"))
    >>> [(name, tuple(value.shape)) for name, value in fragment.initializers.items()]
    [('weight0', (1, 8, 1, 1)), ('weight1', (1, 8, 1, 1))]
    """

    name = "mix"
    Settings = MixSettings

    def make(self, inputs: Inputs, settings: MixSettings) -> Graph:
        """Return the fragment: a Mul for each value, and the Adds between them."""
        if len(settings.starts) <= max(inputs):
            text = f"a mix whose last read is number {max(inputs)} has {len(settings.starts)} starts"
            raise InvalidConfig(text, place="settings.starts", advice="give one number for each read")
        if len(set(inputs.values())) > 1:
            shapes = ", ".join(shape_text((None, *size)) for size in inputs.values())
            text = f"a mix adds values of one shape, not of {shapes}"
            raise InvalidConfig(text, place="reads")
        builder, values = reading(self.name, inputs)
        # A weight with four axes multiplies a map, and exports as a constant that Mul broadcasts.
        channels = next(iter(inputs.values()))[0]
        shape = (1, channels if settings.per == "channel" else 1, 1, 1)
        total = None
        for number, value in values.items():
            weight = builder.weight(f"weight{number}", shape, Filler("constant", settings.starts[number]))
            scaled = builder.node("Mul", [value, weight], name=f"mul{number}")
            total = scaled if total is None else builder.node("Add", [total, scaled], name=f"add{number}")
        assert total is not None
        return builder.finish([total])

    def shares(self, weights: Mapping[str, NDArray[np.float32]]) -> dict[int, float]:
        """Return a_k, the mean over the channels where each has its own.

        >>> Mix().shares({"weight0": np.float32([[[[0.5]], [[1.0]]]]), "weight2": np.float32([[[[0.25]]]])})
        {0: 0.75, 2: 0.25}
        """
        return {int(name.removeprefix("weight")): float(weight.mean()) for name, weight in weights.items()}
