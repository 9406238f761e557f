"""Memory of a search step of one task: weight mixing next to running every option.

*Saved* is what the forward pass keeps for the backward pass, parameters not counted, each storage once. *Peak* is
the most that is alive at once during forward and backward pass, gradients included, of what was not there before.
Where only weights learn, both ways save the same inputs of convolutions; where the policy learns, running every
option saves every option's output too, and that is where the target applies.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench_suite.models import RESNET, TINY, torch_threads
from bench_suite.policy_step import GROUPS, Case, Step
from bench_suite.result import Result, Target

TARGET = Target(1.75)
SIZES = (64, 128)
MIB = 2**20


def run(quick: bool) -> list[Result]:
    """Count bytes; nothing here depends on time."""
    cases = [Case(TINY, 2, 32, TARGET)] if quick else [Case(RESNET, 2, size, TARGET) for size in SIZES]
    with torch_threads(1):
        return [result for case in cases for turn in GROUPS for result in _results(case, turn)]


def _results(case: Case, turn: str) -> list[Result]:
    every, mixed = Step(case, "output", turn), Step(case, "weight", turn)
    name = f"{every.model.space.backbone.name}, {case.size}x{case.size}, {turn} learn"
    return [
        _result(f"{name}: saved", saved_bytes, mixed, every, None if turn == "weights" else TARGET),
        _result(f"{name}: peak", peak_bytes, mixed, every, None),
    ]


def _result(name: str, count: Callable[[Step], int], mixed: Step, every: Step, target: Target | None) -> Result:
    ours, theirs = count(mixed), count(every)
    return Result(name, ours / MIB, theirs / MIB, "MiB", theirs / ours, None, target)


def saved_bytes(step: Step) -> int:
    """Return the bytes that the forward pass of the first task saves."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in step.model.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        step.forward([step.model.tasks[0]])
    return sum(sizes.values())


def peak_bytes(step: Step) -> int:
    """Return the most bytes that are alive during a step of the first task, beyond what was there before."""
    step.model.zero_grad(set_to_none=True)
    stored = [tensor.untyped_storage() for tensor in (*step.model.parameters(), *step.model.buffers(), step.image)]
    alive = Alive({storage.data_ptr() for storage in stored})
    with alive:
        step.forward([step.model.tasks[0]]).backward()  # type: ignore[no-untyped-call]
    return alive.peak


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage that an operator makes until it is let go."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = known
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self._now = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and note what it made."""
        result = func(*args, **(kwargs or {}))
        for item in tree_leaves(result):
            if isinstance(item, torch.Tensor):
                self._note(item.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen or storage.data_ptr() in self._known:
            return
        self._seen.add(storage)
        size = int(storage.nbytes())
        weakref.finalize(storage, self._gone, size)
        self._now += size
        self.peak = max(self.peak, self._now)

    def _gone(self, size: int) -> None:
        self._now -= size
