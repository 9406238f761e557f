"""Methods that decide at once, without data: what others are compared with, and plans of a user's own."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeVar

from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Found, Kind, Method, MethodOptions, Work

O_ = TypeVar("O_", bound=MethodOptions)


class FixedMethod(Method[O_]):
    """A method whose plan follows from its options.

    Attributes:
        argument: The option that a baseline gives behind a colon, as in ``share-until:2``; empty where there is none.
    """

    kind: ClassVar[Kind] = "fixed"
    needs = "nothing: it decides without data"
    argument: ClassVar[str] = ""

    @abstractmethod
    def plan(self) -> SharingPlan:
        """Return the plan.

        Raises:
            InvalidConfig: The options do not fit the backbone.
        """

    def find(self, work: Work) -> Found:
        """Return the plan; nothing is trained for it."""
        return Found(self.plan())
