"""What methods that project columns onto each other have in common: how a projection ends, and what learns how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field

from trunkline.fragments.activation import Activation, activation_of
from trunkline.recipe import Phase, Positive
from trunkline.supermodel.methods.columns import ColumnsMethod, ColumnsOptions, joint_phase


class ProjectionsOptions(ColumnsOptions):
    """What can be set about every method with projections between columns."""

    activation: Literal["match", "relu", "none"] = Field(
        "match", description="what a projection ends in: what the block before it does, or ReLU, or nothing"
    )
    normalise: bool = Field(True, description="whether a projection has a BatchNormalization")
    head_rate_factor: Positive = Field(1.0, description="how many times as fast as the columns the heads learn")


P_ = TypeVar("P_", bound=ProjectionsOptions)


class ProjectionsMethod(ColumnsMethod[P_]):
    """Columns with projections onto each other; a method says which maps each of them reads."""

    def joint_phase(self, terms: Sequence[str]) -> Phase:
        """Return the pipeline's phase, in which projections learn fast, and heads at a rate of their own."""
        return joint_phase(self.setup, self.options.rate_factor, heads=self.options.head_rate_factor)

    def projection_settings(self, starts: list[float], site: str) -> dict[str, Any]:
        """Return the settings of a projection at a site; ``starts`` are as many times the identity, by read."""
        settings: dict[str, Any] = {"starts": starts}
        activation = self._activation(site)
        if activation is not None:
            settings["activation"] = activation.to_json()
        if not self.options.normalise:
            settings["normalise"] = False
        return settings

    def _activation(self, site: str) -> Activation | None:
        if self.options.activation == "match":
            return activation_of(self.setup.backbone.values[site])
        return Activation(op="Relu") if self.options.activation == "relu" else None
