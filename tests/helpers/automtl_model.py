"""AutoMTL's supermodel for tests: its policy as one array over units and tasks, and modes by their word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trunkline.graph.graph import Graph
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.decision import choose
from trunkline.supermodel.methods.automtl import OWN, SHARED, SKIPPED, AutoMTLModel, AutoMTLOptions, space_of

__all__ = ["OWN", "SHARED", "SKIPPED", "AutoMTL", "AutoMTLOptions"]


class AutoMTL(AutoMTLModel):
    """A backbone in which every task may share, copy or skip each operator."""

    def __init__(
        self,
        backbone: Graph,
        heads: Mapping[str, Graph],
        tasks: Sequence[str],
        options: AutoMTLOptions | None = None,
        *,
        seed: int = 0,
    ) -> None:
        chosen = options or AutoMTLOptions()
        super().__init__(space_of(Backbone(backbone), tasks, chosen), heads, chosen, seed)
        self.backbone = backbone
        self.units, self.skips = self.space.table.units, self.space.table.skips

    def mode(self, mode: str, step: int = 0) -> Mapping[str, float]:
        """Choose in this mode, as at this step."""
        return self.at(Moment("test", mode, step=step, of=1000))

    def p(self, task: int, *, stream: str = "forward") -> Tensor:
        """Return the option weights of the task of a number, ``[units, 3]``."""
        return self.option_weights(self.tasks[task], purpose=stream)

    def distribution(self) -> Tensor:
        """Return the learned distribution, ``[units, T, options]``."""
        return torch.stack(list(self.probabilities().values()), dim=1)

    def set_logits(self, logits: Tensor) -> None:
        """Replace all logits, ``[units, T, options]``."""
        self.set_policy({task: logits[:, index] for index, task in enumerate(self.tasks)})

    def term(self, name: str) -> Tensor:
        """Return one loss term."""
        return self.terms([name], {})[name]

    def decide(self) -> SharingPlan:
        """Return the plan that AutoMTL would take."""
        return choose(self.space, self.heads, self.probabilities(), self.options.sampling, "automtl", 0)

    def weight_parameters(self) -> dict[str, torch.nn.Parameter]:
        """Return all parameters but the policy's."""
        return {key: p for name, group in self.groups().items() if name != "policy" for key, p in group.items()}
