"""One step of the AutoMTL search: mixing weights and running one convolution, next to running every option.

A step is the forward pass of all tasks, the summed loss and its backward pass, without terms and without the
optimiser. Both ways compute the same numbers, which is checked. The targets are for the step that gives weights and
policy their gradients at once. The trainer's turns move one group at a time and freeze the other; they are
measured as well. What to hope for follows from counting convolutions, for each searched one and each task. Where
weights learn, running both kernels costs 6 (outputs, input gradients, weight gradients) and the mix 3, so that 2 is
the limit. Where only the policy learns, both kernels cost 4, and the mix still 3, because its policy gradient comes
from its weight gradient: the limit is 4/3.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from bench_suite.common import in_turns
from bench_suite.models import RESNET, TINY, backbone, light_heads, task_names, torch_threads
from bench_suite.result import Result, Target, speed_up
from trunkline.cli.memory import keep_freed_memory
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.supermodel.cell_steps import Mixing
from trunkline.supermodel.methods.automtl import AutoMTLModel, AutoMTLOptions, space_of

BATCH = 4
GROUPS = {"both": ("weights", "policy"), "weights": ("weights",), "policy": ("policy",)}
"""What learns in a step, by the name of the case."""
TOLERANCE, HALF_TOLERANCE = 1e-3, 0.05


@dataclass(frozen=True, slots=True)
class Case:
    """A network, the number of tasks, the side of the image, the target where both groups learn, and what does."""

    net: str
    tasks: int
    size: int
    target: Target
    turns: tuple[str, ...] = tuple(GROUPS)


CASES = (
    Case(RESNET, 2, 64, Target(1.5)),
    Case(RESNET, 2, 128, Target(1.8)),
    Case(RESNET, 5, 64, Target(1.5), ("both",)),
)
QUICK = (Case(TINY, 2, 32, Target(1.5)),)


class Step:
    """A supermodel in training, ready to make one step after the other; in bfloat16 as the trainer would."""

    def __init__(self, case: Case, mixing: Mixing, turn: str, *, bfloat16: bool = False) -> None:
        self.bfloat16 = bfloat16
        graph = backbone(case.net, (case.size, case.size))
        tasks = task_names(case.tasks)
        options = AutoMTLOptions(mixing=mixing)
        space = space_of(Backbone(graph), tasks, options)
        self.model = AutoMTLModel(space, light_heads(graph, tasks), options, seed=0).train()
        self.image = torch.randn(BATCH, 3, case.size, case.size, generator=torch.Generator().manual_seed(0))
        for group, parameters in self.model.groups().items():
            for parameter in parameters.values():
                parameter.requires_grad_(group.partition(".")[0] in GROUPS[turn])

    def forward(self, tasks: list[str] | None = None) -> torch.Tensor:
        """Return the summed loss of ``tasks``, all by default, of the first step's sample."""
        self.model.at(Moment("search", "sample"))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            outputs = self.model(self.image, tasks)
        return torch.stack([output.float().square().mean() for output in outputs.values()]).sum()

    def __call__(self) -> float:
        """Make a step and return its loss."""
        self.model.zero_grad(set_to_none=True)
        loss = self.forward()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()


def run(quick: bool) -> list[Result]:
    """Compare on one thread, in CPU time, which neighbours hardly touch; memory as in the commands that train."""
    keep_freed_memory()
    cases = QUICK if quick else CASES
    with torch_threads(1):
        rows = [_compare(case, turn) for case in cases for turn in case.turns]
        return [*rows, _compare(replace(cases[0], target=Target(2.0)), "both", bfloat16=True)]


def _compare(case: Case, turn: str, *, bfloat16: bool = False) -> Result:
    """Compare weight mixing, in bfloat16 or not, with output mixing in float32."""
    every, mixed = Step(case, "output", turn), Step(case, "weight", turn, bfloat16=bfloat16)
    _require_same(every(), mixed(), HALF_TOLERANCE if bfloat16 else TOLERANCE)
    theirs, ours = in_turns(every, mixed, rounds=11, warm_up=1, clock=time.process_time_ns)
    precision = ", ours in bfloat16" if bfloat16 else ""
    name = f"{every.model.space.backbone.name}, {case.tasks} tasks, {case.size}x{case.size}, {turn} learn{precision}"
    return speed_up(name, ours, theirs, target=case.target if turn == "both" else None)


def _require_same(first: float, second: float, tolerance: float) -> None:
    if abs(first - second) > tolerance * abs(first):
        raise ValueError(f"the two ways compute different losses: {first} and {second}")
