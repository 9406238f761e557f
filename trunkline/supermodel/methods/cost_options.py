"""What can be set about the cost that a search may pay for."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from trunkline.recipe import NotNegative
from trunkline.supermodel.cost_term import Counted
from trunkline.supermodel.methods.base import MethodOptions

COST = "cost"
"""The loss term."""


class CostOptions(MethodOptions):
    """Options of the loss term ``cost``."""

    cost: Counted = Field("macs", description="what the cost term counts")
    cost_weight: NotNegative = Field(0.0, description="λ of the expected cost, as a share of T backbones; 0: none")
    cost_table: Path | None = Field(None, description="milliseconds by operator and join, of `trunkline costs`")

    @property
    def cost_terms(self) -> dict[str, float]:
        """The cost term with its weight, for the turns that move the policy; none where it weighs nothing."""
        return {COST: self.cost_weight} if self.cost_weight else {}

    @model_validator(mode="after")
    def _table_where_needed(self) -> Self:
        if self.cost == "milliseconds" and self.cost_table is None:
            raise ValueError('`cost = "milliseconds"` needs `cost_table`, a file with the time of each unit')
        if self.cost != "milliseconds" and self.cost_table is not None:
            raise ValueError(f'`cost_table` is only read with `cost = "milliseconds"`, and cost is "{self.cost}"')
        return self
