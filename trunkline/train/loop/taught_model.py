"""A model that learns from a teacher beside its labels: the maps that its heads read are drawn to the teacher's.

For task t with the maps f that its head reads, the teacher's maps g and one matrix A for each map, the term
``teacher`` is

    Σ_t mean over maps and pixels of ‖ A f / ‖A f‖ − g / ‖g‖ ‖²,

norms over the channels. A shared map cannot be what several teachers have for it; it has only to hold as much, so each
task reads it through a matrix of its own, which starts as the identity and is left behind when the training is over.
(The form is recalled from Li and Bilen, "Knowledge Distillation for Multi-task Learning", 2020; their text was not at
hand.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trunkline.graph.graph import Graph, Shape, shapes_of
from trunkline.graph.owners import maps_of_heads
from trunkline.train.loop.trainable import TaskModel, WeightTerm
from trunkline.twins.components import Component
from trunkline.twins.twin import Twin

TEACHER = "teacher"
"""Name of the loss term."""
_ADAPTERS = "weights.adapters"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A map that a task's head reads.

    Attributes:
        own: Its name in the model that learns.
        theirs: Its name in the teacher.
        channels: How many channels it has.
    """

    own: str
    theirs: str
    channels: int


def lessons_of(graph: Graph, teacher: Graph) -> dict[str, tuple[Lesson, ...]]:
    """Return what a multi-task model has to learn, by task.

    Args:
        graph: The model that learns.
        teacher: A multi-task model that has each of its tasks, with the same heads.
    """
    taught, shapes = maps_of_heads(teacher), shapes_of(graph)
    found: dict[str, tuple[Lesson, ...]] = {}
    for task, maps in maps_of_heads(graph).items():
        # A head may read a map several times, which makes it no more important.
        pairs = dict.fromkeys(zip(maps, taught[task], strict=True))
        found[task] = tuple(Lesson(own, theirs, _channels(shapes[own])) for own, theirs in pairs)
    return found


def _channels(shape: Shape) -> int:
    count = shape[1]
    assert isinstance(count, int)  # only the batch is free in a Graph
    return count


class TaughtModel(TaskModel):
    """A :class:`TaskModel` with a teacher that has the same heads.

    Args:
        twin: The model that learns.
        parts: See :class:`TaskModel`.
        terms: Loss terms over the weights, by name.
        teacher: A trained model, which does not change.
        lessons: What is learned for each task; see :func:`lessons_of`.
    """

    def __init__(
        self,
        twin: Twin,
        parts: Mapping[str, str] | None = None,
        terms: Mapping[str, WeightTerm] | None = None,
        *,
        teacher: Twin,
        lessons: Mapping[str, Sequence[Lesson]],
    ) -> None:
        super().__init__(twin, parts, terms)
        self.teacher = teacher.requires_grad_(False).eval()
        self._lessons = dict(lessons)
        self.adapters = nn.ParameterDict()
        for task, of_task in self._lessons.items():
            for number, lesson in enumerate(of_task):
                self.adapters[_adapter(task, number)] = nn.Parameter(torch.eye(lesson.channels))
        self._distances: dict[str, Tensor] = {}

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the outputs of these tasks; in training, also note how far their maps are from the teacher's."""
        wanted = self.tasks if tasks is None else tuple(tasks)
        self._distances = {}
        if not self.training:
            return super().forward(image, wanted)
        lessons = [lesson for task in wanted for lesson in self._lessons[task]]
        values = self.twin(image, tuple(dict.fromkeys([*wanted, *(lesson.own for lesson in lessons)])))
        with torch.no_grad():
            shown = self.teacher(image, tuple(dict.fromkeys(lesson.theirs for lesson in lessons)))
        self._distances = {task: self._distance(task, values, shown) for task in wanted}
        return {task: values[task] for task in wanted}

    def train(self, mode: bool = True) -> TaughtModel:
        """Set training or evaluation mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms of these names; ``teacher`` is of the last forward pass, and of the tasks with a loss."""
        found = super().terms([name for name in names if name != TEACHER], losses)
        if TEACHER in names:
            distances = [distance for task, distance in self._distances.items() if task in losses]
            found[TEACHER] = sum(distances, torch.zeros(()))
        return found

    def groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return all parameters; the matrices are a group of their own."""
        return {**super().groups(), _ADAPTERS: dict(self.adapters.items())}

    def users(self) -> dict[str, frozenset[str]]:
        """Return, by parameter, the tasks that use it; a matrix is of one task."""
        found = super().users()
        for task, lessons in self._lessons.items():
            found |= {_adapter(task, number): frozenset({task}) for number in range(len(lessons))}
        return found

    def components(self) -> tuple[Component, ...]:
        """Return the parts of the model that have no weight in common, each with the matrices of its tasks."""
        users = self.users()
        found = []
        for part in super().components():
            own = {name for name in self.adapters if not users[name].isdisjoint(part.tasks)}
            found.append(Component(part.tasks, part.weights | own))
        return tuple(found)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # torch overloads it
        """Return what training changes: the Twin's tensors under their ONNX names, and the matrices."""
        matrices = {name: matrix.detach() for name, matrix in self.adapters.items()}
        return {**super().state_dict(*args, **kwargs), **matrices}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Set the Twin's tensors by their ONNX names, and the matrices."""
        with torch.no_grad():
            for name, matrix in self.adapters.items():
                matrix.copy_(state_dict[name])
        of_twin = {name: tensor for name, tensor in state_dict.items() if name not in self.adapters}
        return super().load_state_dict(of_twin, *args, **kwargs)

    def _distance(self, task: str, values: Mapping[str, Tensor], shown: Mapping[str, Tensor]) -> Tensor:
        found = []
        for number, lesson in enumerate(self._lessons[task]):
            adapted = torch.einsum("dc,nc...->nd...", self.adapters[_adapter(task, number)], values[lesson.own])
            found.append(apart(adapted.float(), shown[lesson.theirs].float()))
        return torch.stack(found).mean()


def apart(own: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean squared distance of two maps ``[N, C, …]`` whose channels have norm 1 at each pixel: 0 to 4.

    Where all channels are 0, as behind a ReLU, they stay 0.

    >>> float(apart(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, -5.0]])))
    4.0
    """
    difference = functional.normalize(own, dim=1) - functional.normalize(theirs, dim=1)
    return difference.square().sum(dim=1).mean()


def _adapter(task: str, number: int) -> str:
    # No ONNX name is in danger of being the same: state_dict keys of a twin are the names of a lowered Graph, in which
    # a task's name stands behind "@", "~" or a dot.
    return f"teacher/{task}/{number}"
