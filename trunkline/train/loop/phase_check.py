"""Check a phase against the model, its tasks and its data, before any work; all problems are found at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.recipe import Moment, Phase
from trunkline.text import quoted
from trunkline.train.loop.batch_feed import SplitData
from trunkline.train.loop.evaluate import BestMetric
from trunkline.train.loop.trainable import Trainable, parameter_group
from trunkline.train.tasks.base import Task


def check_phase(model: Trainable, tasks: Sequence[Task], data: SplitData, phase: Phase) -> BestMetric | None:
    """Return what scores the phase's evaluations, None where it does not ask for the best checkpoint.

    Raises:
        InvalidConfig: Tasks, parameter groups, modes, terms, splits or metrics that are not there, all of them at once.
    """
    checks: list[Callable[[], object]] = [partial(_check_tasks, model, tasks)]
    checks += [partial(parameter_group, model, move.group) for turn in phase.turns for move in turn.moves]
    checks += [partial(data.source, turn.data) for turn in phase.turns]
    checks += [partial(model.at, moment) for moment in (*_first_moments(phase), phase.evaluation(0))]
    checks += [partial(_check_terms, model, tasks, phase), partial(_check_loss_weights, tasks, phase)]
    if phase.eval_split is not None:
        checks.append(partial(data.evaluation, phase.eval_split))
    if phase.best_by is not None:
        checks += [partial(BestMetric, phase.best_by, tasks), partial(_check_evaluated, phase)]
    problems: list[Problem] = []
    for check in checks:
        try:
            check()
        except InvalidConfig as error:
            # Turns often move the same group, and would report it twice.
            problems.extend(problem for problem in error.problems if problem not in problems)
    if problems:
        raise InvalidConfig(problems)
    return None if phase.best_by is None else BestMetric(phase.best_by, tasks)


def _check_terms(model: Trainable, tasks: Sequence[Task], phase: Phase) -> None:
    """Compute every turn's terms once, in its first step's mode: a late turn's would fail after hours."""
    losses = {task.name: torch.zeros(()) for task in tasks}
    for turn, moment in zip(phase.turns, _first_moments(phase), strict=True):
        if turn.terms:
            model.at(moment)
            with torch.no_grad():
                model.terms(tuple(turn.terms), losses)


def _first_moments(phase: Phase) -> list[Moment]:
    """Return the moment of each turn's first step: turns may have modes of their own."""
    starts = itertools.accumulate((turn.steps for turn in phase.turns[:-1]), initial=0)
    return [phase.moment(start) for start in starts]


def _check_loss_weights(tasks: Sequence[Task], phase: Phase) -> None:
    names = [task.name for task in tasks]
    problems = [
        Problem(f"there is no task {quoted(name)}", f"loss_weights.{name}", did_you_mean(name, names))
        for name in phase.loss_weights
        if name not in names
    ]
    if problems:
        raise InvalidConfig(problems)


def _check_evaluated(phase: Phase) -> None:
    if phase.eval_split is None:
        raise InvalidConfig(
            "nothing is evaluated, so nothing can be the best", place="best_by", advice="set eval_split"
        )


def _check_tasks(model: Trainable, tasks: Sequence[Task]) -> None:
    names = [task.name for task in tasks]
    if not names or len(set(names)) != len(names):
        raise InvalidConfig(f"the tasks are {names}, expected at least one and no name twice", place="tasks")
    known = model.tasks
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidConfig(
            [Problem(f"the model has no output {quoted(name)}", "tasks", did_you_mean(name, known)) for name in unknown]
        )
