"""One training step: losses, gradients, and the optimiser's move, or nothing at all if a number is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.recipe import Turn
from trunkline.text import quoted
from trunkline.train.data.batches import Batch
from trunkline.train.loop.device import Compute
from trunkline.train.loop.non_finite import non_finite_error
from trunkline.train.loop.optimisers import TurnOptimiser
from trunkline.train.loop.trainable import Trainable
from trunkline.train.tasks.base import Task

Rates = Mapping[str, float]
"""Learning rates by group."""


@dataclass(frozen=True, slots=True)
class StepValues:
    """The numbers of a step.

    Attributes:
        losses: Unweighted loss by task, of the tasks that had a label.
        terms: Unweighted term by name.
    """

    losses: dict[str, float]
    terms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Stepper:
    """Makes steps of a turn.

    Attributes:
        model: A model in training mode, prepared for the step by :meth:`Trainable.at`.
        tasks: The tasks, in the order in which they are stepped where a turn is not joint.
        compute: Precision of the forward pass.
        clip_norm: Greatest L2 norm of a component's gradient; None for no clipping.
        loss_weights: Factors of losses by task; a task that is not named has its own weight.
    """

    model: Trainable
    tasks: Sequence[Task]
    compute: Compute
    clip_norm: float | None = None
    loss_weights: Mapping[str, float] = field(default_factory=dict)

    def step(self, turn: Turn, batch: Batch, optimiser: TurnOptimiser, *, rates: Rates, place: str) -> StepValues:
        """Make one step of the tasks that the batch has a label for. What only other tasks use does not move.

        A term may move all that these tasks use, also where no loss has a gradient to it, as to a policy that is drawn.

        Where the turn is not joint, each task sees the same batch, and what earlier tasks moved stays moved if a later
        one fails.

        Args:
            turn: Which terms are added, and whether tasks are stepped together.
            batch: Samples on the device of the model.
            optimiser: The optimisers of the turn's moves.
            rates: Learning rates of this step, by group.
            place: Phase, turn and step, for errors.

        Raises:
            WorkFailed: A loss, term or gradient is not finite; the optimiser has not moved anything.
            InvalidConfig: A task has no label, or nothing that the turn moves takes part.
        """
        # BMTAS normalises by the batch while it moves the architecture, and keeps the running statistics as they were.
        statistics_before = _copied(self.model.statistics()) if turn.statistics == "hold" else {}
        try:
            if turn.joint:
                return self._joint_step(turn, batch, optimiser, rates, place)
            return self._task_steps(turn, batch, optimiser, rates, place)
        finally:
            if statistics_before:
                for name, tensor in self.model.statistics().items():
                    tensor.copy_(statistics_before[name])

    def _joint_step(self, turn: Turn, batch: Batch, optimiser: TurnOptimiser, rates: Rates, place: str) -> StepValues:
        optimiser.zero_grad()
        loss, losses = self._loss(self.tasks, batch, place)
        terms = self._terms(turn, losses, place)
        if loss is None:
            return StepValues({}, _floats(terms))
        # 1. Every task has a label: one backward pass makes the gradients of losses and terms.
        # 2. Some have none: a term that reads all weights, as an expected cost does, would move theirs too.
        if len(losses) == len(self.tasks):
            loss = loss + _weighted(terms, turn)
            if not loss.requires_grad:
                raise _no_part_error(turn, place)
            torch.autograd.backward(loss)
        # What the turn moves may be used by the others alone: then nothing gets a gradient from this batch.
        else:
            self._backward_of_some(loss, losses, terms, turn, optimiser)
        self._move(optimiser, rates, place)
        return StepValues(_floats(losses), _floats(terms))

    def _task_steps(self, turn: Turn, batch: Batch, optimiser: TurnOptimiser, rates: Rates, place: str) -> StepValues:
        # As the released code of AutoMTL and of BMTAS does it.
        values: dict[str, float] = {}
        terms: dict[str, Tensor] = {}
        for task in self.tasks:
            optimiser.zero_grad()
            loss, losses = self._loss([task], batch, place)
            terms = self._terms(turn, losses, place)
            if loss is None:
                continue
            values.update(_floats(losses))
            if not self._backward_of_some(loss, losses, terms, turn, optimiser):
                raise _no_part_error(turn, place)
            self._move(optimiser, rates, place)
        return StepValues(values, _floats(terms))

    def _backward_of_some(
        self,
        loss: Tensor,
        losses: Mapping[str, Tensor],
        terms: Mapping[str, Tensor],
        turn: Turn,
        optimiser: TurnOptimiser,
    ) -> bool:
        """Make the gradients of some tasks' loss, and of the terms to what these tasks use.

        Returns:
            Whether anything that the turn moves has one.
        """
        if loss.requires_grad:
            # A term may be made of the losses: it goes through their graph a second time.
            torch.autograd.backward(loss, retain_graph=bool(terms))
        if terms:
            # Not only what the loss has reached: a policy that is drawn has no gradient but that of a score function.
            users, stepped = self.model.users(), losses.keys()
            used = [p for name, p in optimiser.parameters.items() if not stepped.isdisjoint(users[name])]
            total = _weighted(terms, turn)
            if total.requires_grad and used:
                torch.autograd.backward(total, inputs=used)
        return bool(optimiser.gradients())

    def _loss(self, tasks: Sequence[Task], batch: Batch, place: str) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return Σ w_t·L_t over the tasks that the batch has a label for, and each L_t.

        Where there is no such task the sum is None. A task whose count is 0 is left out as well: no labelled pixel was
        left at the size of its output, and its gradient of zeros would let decay and momentum move its weights.
        """
        _require_labels(tasks, batch, place)
        labelled = [task for task in tasks if batch.has_label(task.name)]
        if not labelled:
            return None, {}
        with self.compute.autocast():
            outputs = self.model(batch.image, [task.name for task in labelled])
        sums = [task.loss_sum(outputs[task.name].float(), batch.labels[task.name]) for task in labelled]
        losses = [total / count.clamp(min=1) for total, count in sums]
        # One transfer, and so one wait for the device, for all that Python has to know.
        numbers = torch.stack([*losses, *(count.float() for _, count in sums)]).detach().tolist()
        values, counts = numbers[: len(losses)], numbers[len(losses) :]
        for task, loss, value in zip(labelled, losses, values, strict=True):
            if not math.isfinite(value):
                raise self._non_finite_loss_error(task.name, loss, outputs, batch, place)
        found: dict[str, Tensor] = {}
        total = torch.zeros(())  # a scalar on the CPU may be added to one on any device
        for task, loss, count in zip(labelled, losses, counts, strict=True):
            if count:
                found[task.name] = loss
                total = total + self.loss_weights.get(task.name, task.weight) * loss
        return (total if found else None), found

    def _non_finite_loss_error(
        self, name: str, loss: Tensor, outputs: Mapping[str, Tensor], batch: Batch, place: str
    ) -> WorkFailed:
        def suspects() -> Iterator[tuple[str, Tensor]]:
            yield "the image", batch.image
            yield f"the label of {quoted(name)}", batch.labels[name]
            yield from self._parameters()
            yield f"the output of {quoted(name)}", outputs[name]
            yield f"the loss of {quoted(name)}", loss

        return non_finite_error(f"the loss of task {quoted(name)} ({loss.item()})", place, suspects())

    def _terms(self, turn: Turn, losses: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
        terms = self.model.terms(tuple(turn.terms), losses)
        for name, term in terms.items():
            if not bool(torch.isfinite(term)):
                suspects = [*self._parameters(), (f"the term {quoted(name)}", term)]
                raise non_finite_error(f"the term {quoted(name)} ({term.item()})", place, suspects)
        return terms

    def _parameters(self) -> Iterator[tuple[str, Tensor]]:
        for group, parameters in self.model.groups().items():
            for name, parameter in parameters.items():
                yield f"parameter {quoted(name)} ({group})", parameter

    def _move(self, optimiser: TurnOptimiser, rates: Rates, place: str) -> None:
        """Clip and move each component by itself, as if it were trained alone.

        One norm over all of them would couple single-task models that are trained side by side as a baseline.
        """
        reached: list[list[Tensor]] = []
        norms: list[Tensor] = []
        for component in optimiser.by_component:
            moved: list[Tensor] = [parameter for parameter in component if parameter.grad is not None]
            # Of a component that no loss reaches there is no norm.
            if moved:
                reached.append(moved)
                norms.append(get_total_norm([parameter.grad for parameter in moved if parameter.grad is not None]))
        if not norms:
            return
        # One question to the device for all components.
        if not bool(torch.isfinite(torch.stack(norms)).all()):
            suspects = [(f"the gradient of {quoted(name)}", grad) for name, grad in optimiser.gradients().items()]
            found = next(norm.item() for norm in norms if not bool(torch.isfinite(norm)))
            raise non_finite_error(f"the norm of the gradient ({found})", place, suspects)
        if self.clip_norm is not None:
            for tensors, norm in zip(reached, norms, strict=True):
                clip_grads_with_norm_(tensors, self.clip_norm, norm)
        optimiser.step(rates)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _weighted(terms: Mapping[str, Tensor], turn: Turn) -> Tensor:
    return sum((turn.terms[name] * term for name, term in terms.items()), torch.zeros(()))


def _floats(terms: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: term.detach().item() for name, term in terms.items()}


def _require_labels(tasks: Sequence[Task], batch: Batch, place: str) -> None:
    missing = [task.name for task in tasks if task.name not in batch.labels]
    if missing:
        raise InvalidConfig(
            f"the data has no labels for {', '.join(missing)}",
            place=place,
            advice=f"it has labels for: {', '.join(batch.labels)}",
        )


def _no_part_error(turn: Turn, place: str) -> InvalidConfig:
    return InvalidConfig(
        f"nothing of {', '.join(move.group for move in turn.moves)} takes part in the loss",
        place=place,
        advice="check `mode` and the groups that the turn moves",
    )
