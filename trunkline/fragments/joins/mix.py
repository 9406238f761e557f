"""``mix``: a weighted sum of equally shaped values, as in Cross-Stitch Networks (Misra et al. 2016, Eq. 1).

One weight a value (``per = "tensor"``), or one a value and channel (``per = "channel"``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import JoinKind, JoinSettings, Size, reading
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph


class MixSettings(JoinSettings):
    """What a plan says about a mix.

    Attributes:
        starts: Initial weight of each value, in order.
        per: Whether a value has one weight, or one for each channel.
    """

    starts: tuple[float, ...] = Field(min_length=1)
    per: Literal["tensor", "channel"] = "tensor"


class Mix(JoinKind):
    """Σ_k a_k · x_k with trainable a_k."""

    name = "mix"
    Settings = MixSettings

    def make(self, inputs: Sequence[Size], settings: MixSettings) -> Graph:
        """Return the fragment: a Mul for each value, and the Adds between them."""
        if len(settings.starts) != len(inputs):
            text = f"a mix of {len(inputs)} values has {len(settings.starts)} starts"
            raise InvalidConfig(text, place="settings.starts", advice="give one number for each value that is read")
        if len(set(inputs)) > 1:
            text = f"a mix adds values of one shape, not of {', '.join(str(list(size)) for size in inputs)}"
            raise InvalidConfig(text, place="reads")
        builder, values = reading(self.name, inputs)
        # A weight with four axes multiplies a map, and exports as a constant that Mul broadcasts.
        shape = (1, inputs[0][0] if settings.per == "channel" else 1, 1, 1)
        total = None
        for index, (value, start) in enumerate(zip(values, settings.starts, strict=True)):
            weight = builder.weight(f"weight{index}", shape, Filler("constant", start))
            scaled = builder.node("Mul", [value, weight], name=f"mul{index}")
            total = scaled if total is None else builder.node("Add", [total, scaled], name=f"add{index}")
        assert total is not None
        return builder.finish([total])
