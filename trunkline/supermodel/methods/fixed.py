"""Methods that decide at once, without data: what others are compared with, and plans of a user's own."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeVar

from trunkline.errors import InvalidConfig
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan
from trunkline.supermodel.methods.base import Kind, Method, MethodOptions, Setup
from trunkline.supermodel.work import Found, Work

O_ = TypeVar("O_", bound=MethodOptions)


class FixedMethod(Method[O_]):
    """A method whose plan follows from its options.

    Attributes:
        argument: The option that a baseline gives behind a colon, as in ``share-until:2``; empty where there is none.
    """

    kind: ClassVar[Kind] = "fixed"
    needs = "nothing: it decides without data"
    leaves_weights = False
    argument: ClassVar[str] = ""

    @abstractmethod
    def plan(self) -> SharingPlan:
        """Return the plan.

        Raises:
            InvalidConfig: The options do not fit the backbone.
        """

    def check(self) -> None:
        """Make the plan."""
        _ = self._made

    def find(self, work: Work) -> Found:
        """Return the plan; nothing is trained for it."""
        return Found(self._made)

    @cached_property
    def _made(self) -> SharingPlan:
        """The plan, made once: thousands of draws may be behind it."""
        return self.plan()


def plan_in(path: Path, setup: Setup) -> SharingPlan:
    """Return the plan of a file.

    Raises:
        InvalidConfig: It is for another backbone, or for other tasks.
    """
    plan = SharingPlan.load(path)
    check_plan(plan, setup.backbone)
    if plan.tasks != setup.tasks:
        text = f"the plan is for {', '.join(plan.tasks)}; the pipeline's tasks are {', '.join(setup.tasks)}"
        raise InvalidConfig(text, place=str(path), advice="name the same tasks in the same order")
    return plan
