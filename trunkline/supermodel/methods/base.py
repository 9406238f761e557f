"""What a method is: it finds out who shares what, and how the result is trained.

A method is one file of this folder. It has a name, options that are the ``[search]`` table of a pipeline file, and
:meth:`Method.find`. It never runs an optimiser and knows no data set: it describes phases as data
(:mod:`trunkline.recipe`), and asks :class:`Work` to run them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from trunkline.graph.graph import Graph
from trunkline.recipe import Phase, Turn
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.work import Found, Work

LayoutScorer = Callable[[Layout], float | None]
"""Scores a tree of the backbone's own blocks: the higher, the better; ``None`` where it cannot."""
Kind = Literal["fixed", "ranked", "searched", "soft", "taught"]


class MethodOptions(BaseModel):
    """What a pipeline file may say under ``[search]``; each method adds its own fields.

    A field of type :class:`~pathlib.Path` is taken relative to the pipeline file.

    >>> class FileOptions(MethodOptions):
    ...     file: Path
    >>> FileOptions(file=Path("plan.json")).anchored(Path("/project")).file.as_posix()
    '/project/plan.json'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def paths(self) -> dict[str, Path]:
        """The paths in the table, by key."""
        return {key: value for key, value in self if isinstance(value, Path)}

    def anchored(self, folder: Path) -> Self:
        """Return the table with absolute paths; relative ones are in ``folder``."""
        return self.model_copy(update={key: (folder / path).absolute() for key, path in self.paths.items()})


@dataclass(frozen=True, slots=True)
class Setup:
    """What a method is given.

    Attributes:
        backbone: The backbone, with what is known about it.
        heads: A head per task.
        tasks: Task names in output order.
        kinds: The kind of each task, such as ``depth``.
        seed: The run's: initial weights and noise are drawn from it.
        phase: How the pipeline trains a model whose sharing is decided: what ``[train]`` says.
        steps_an_epoch: Steps in which every training sample is read once.
        read_at: Reads backbone and heads for images of a share of the height and width; None where it cannot.
        loss_weights: λ of each task in ``phase``; 1 where a task has none.
    """

    backbone: Backbone
    heads: Mapping[str, Graph]
    tasks: tuple[str, ...]
    kinds: Mapping[str, str]
    seed: int
    phase: Phase
    steps_an_epoch: int
    read_at: Callable[[float], tuple[Backbone, Mapping[str, Graph]]] | None = None
    loss_weights: Mapping[str, float] = field(default_factory=dict)

    def search_phase(self, name: str, mode: str, steps: int, turns: Sequence[Turn], **settings: Any) -> Phase:
        """Return a phase of a search that is evaluated, saved and clipped as the pipeline sets it."""
        common = ("clip_norm", "log_every", "eval_every", "eval_split", "checkpoint_every", "keep")
        own = {key: getattr(self.phase, key) for key in common}
        return Phase(name=name, mode=mode, steps=steps, turns=tuple(turns), **{**own, **settings})

    def by_task(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return weights that are given by task, or by kind of task, by task; the task's own comes first."""
        found: dict[str, float] = {}
        for task in self.tasks:
            weight = weights.get(task, weights.get(self.kinds[task]))
            if weight is not None:
                found[task] = weight
        return found


O_ = TypeVar("O_", bound=MethodOptions)


class Method(ABC, Generic[O_]):
    """A way to find out who shares what.

    Attributes:
        name: What pipeline files call it.
        kind: ``fixed``: it decides without data; ``ranked``: it ranks plans by what models of one or two tasks show;
            ``searched``: it learns who shares what; ``soft``: columns stay, and joins between or beside them learn;
            ``taught``: it decides without data, and its model learns from others.
        units: What its plans decide about: operators, or blocks.
        needs: What has to be trained for it, in words for people, as the next two are.
        decides: What it decides.
        yields: What it comes to.
        source: The paper that it is from.
        trains_on: Whether its plans are trained in its own way, or go on from weights of its own.
        leaves_weights: Whether there are weights to go on from behind a search.
        Options: What ``[search]`` may say.

    >>> from trunkline.sharing.layouts.plans import share_until
    >>> class HalfOptions(MethodOptions):
    ...     block: str = "3"
    >>> class Half(Method[HalfOptions]):
    ...     name, kind, units = "half", "fixed", "blocks"
    ...     needs, decides = "nothing: it decides without data", "where the trunk ends"
    ...     source = "this example"
    ...     Options = HalfOptions
    ...
    ...     def find(self, work: Work) -> Found:
    ...         return Found(share_until(self.setup.backbone, self.setup.tasks, self.options.block))
    >>> Half.decisive(HalfOptions())
    {'block': '3'}
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    units: ClassVar[str]
    needs: ClassVar[str]
    decides: ClassVar[str]
    yields: ClassVar[str] = "one plan"
    source: ClassVar[str]
    trains_on: ClassVar[bool] = False
    leaves_weights: ClassVar[bool] = True
    Options: ClassVar[type[MethodOptions]] = MethodOptions

    def __init__(self, setup: Setup, options: O_) -> None:
        self.setup = setup
        self.options = options

    @abstractmethod
    def find(self, work: Work) -> Found:
        """Find who shares what.

        Raises:
            InvalidConfig: The options do not fit, or no plan is inside a budget.
        """

    def check(self) -> None:  # most can say nothing before they have trained something
        """Find out what can be found out without any work.

        Raises:
            InvalidConfig: The options do not fit; :meth:`find` would say it after hours.
        """

    @classmethod
    def open_joins(cls, setup: Setup, options: O_) -> tuple[OpenJoin, ...]:
        """Return the joins whose reads a search would choose, if it were begun: what a cost table has times of.

        Such a table may be an option of the method, so none can be asked for here.
        """
        return ()

    @classmethod
    def scorer(cls, plan: SharingPlan) -> LayoutScorer | None:
        """Return what scores any tree by what a plan of this method was chosen by, from the plan's provenance alone.

        A comparison asks it about other plans, to see how good such scores are. ``None`` where a plan says nothing of
        others.
        """
        return None

    @classmethod
    def decisive(cls, options: O_) -> dict[str, Any]:
        """Return the options that a search, once begun, may not change; the others say how its result is used.

        A file counts by what it holds: it may be moved.
        """
        content = options.model_dump(mode="json")
        for key in cls.free():
            content.pop(key, None)
        for key, path in options.paths.items():
            # A file that is gone is not the one that the search began with, and no error of its own here.
            content[key] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        return content

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """Return the options that may change after a search has begun."""
        return ()
