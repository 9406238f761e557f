"""Whether a pipeline file's tasks, their losses and their heads fit the data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.graph.graph import Graph, shape_of
from trunkline.pipeline.config import PipelineConfig
from trunkline.text import quoted, shape_text
from trunkline.train.data.base import TaskInfo
from trunkline.train.tasks.registry import task_kinds

# These are arguments of a task's class too; among the options they would replace what has its own place.
_OWN_PLACE = {
    "weight": "set it beside `options`, not in it",
    "name": "the table's name is the task's name",
    "kind": "the data set says what kind of task it is",
    "channels": "the data set says how many channels the task has",
}
"""Keys of a task that must not come in by way of its options."""


def check_tasks(config: PipelineConfig, known: Sequence[str]) -> None:
    """Refuse tasks, options and loss weights that belong to no task of the data set.

    Args:
        config: The pipeline.
        known: Names of the tasks that the data set has, or can make labels for.

    Raises:
        InvalidConfig: There are some; all of them at once.
    """
    problems = [
        *_problems_of_names(config, known),
        *_problems_of_options(config),
        *_problems_of_loss_weights(config, known),
    ]
    if problems:
        raise InvalidConfig(problems)


def _problems_of_names(config: PipelineConfig, known: Sequence[str]) -> Iterator[Problem]:
    for name in config.tasks:
        if name not in known:
            advice = did_you_mean(name, known) or _listing(known)
            yield Problem("the data set has no such task", f"tasks.{name}", advice)


def _problems_of_options(config: PipelineConfig) -> Iterator[Problem]:
    for name, task in config.tasks.items():
        for key in task.options:
            if key in _OWN_PLACE:
                yield Problem("is not an option", f"tasks.{name}.options.{key}", _OWN_PLACE[key])


def _problems_of_loss_weights(config: PipelineConfig, tasks: Sequence[str]) -> Iterator[Problem]:
    # Any kind may be weighed, also one of which this run has no task: a preset weighs all those of its data set.
    known = (*tasks, *task_kinds())
    in_search = getattr(config.search.options, "loss_weights", {})  # not every method has them
    for table, weights in (("train", config.train.loss_weights), ("search", in_search)):
        for name in weights:
            if name not in known:
                advice = did_you_mean(name, known) or _listing(dict.fromkeys(known))
                yield Problem("is neither a task nor a kind of task", f"{table}.loss_weights.{name}", advice)


def check_predictions(heads: Mapping[str, Graph], kinds: Mapping[str, str], infos: Mapping[str, TaskInfo]) -> None:
    """Refuse heads that predict something else than their task needs: a vector for a map, or other channels.

    Args:
        heads: By task.
        kinds: What the pipeline calls the head of each task.
        infos: The data set's description of each task.

    Raises:
        InvalidConfig: There are such heads; all of them at once.
    """
    problems = []
    for name, head in heads.items():
        info, shape = infos[name], shape_of(head.outputs[0])
        if info.label.fits(shape, info.channels):
            continue
        needed = info.label.output_text(info.channels)
        message = f"{quoted(kinds[name])} gives {shape_text(shape)}, {name} needs {needed}"
        advice = f"give a head that predicts a {info.label.output} with as many channels as the task has"
        problems.append(Problem(message, f"tasks.{name}.head", advice))
    if problems:
        raise InvalidConfig(problems)


def _listing(known: Iterable[str]) -> str:
    return f"it has: {', '.join(known)}"
