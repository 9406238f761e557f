"""What a task is: a loss to train by, a metric to judge by, and a way to show its labels."""

from __future__ import annotations

import dataclasses
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args, get_type_hints

import numpy as np
from torch import Tensor

from trunkline.errors import InvalidConfig, InvalidModel, Problem, did_you_mean
from trunkline.train.data.base import KINDS, Kind
from trunkline.train.tasks.resize import Upsample, nearest, output_to


class Metric(Protocol):
    """Collects predictions batch by batch, in bounded memory.

    Values are pooled over pixels: any division of the same samples into batches gives the same numbers.
    Fractions lie in [0, 1]; a value is NaN where no valid pixel was seen.
    """

    def update(self, output: Tensor, label: Tensor) -> None:
        """Count one batch: output ``[N, K, h, w]``, label at its own size."""

    def compute(self) -> dict[str, float]:
        """Return every metric over all batches so far."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A vision task. The labels of each kind are described in :mod:`trunkline.train.data.base`.

    Attributes:
        name: Name of the task, of its labels and of its model output.
        channels: Channels of its model output.
        weight: Factor of its loss in a sum over tasks.
        loss_size: Where the loss is taken: at the ``output``'s size, on labels taken down by nearest neighbour, as
            AdaShare, AutoMTL and TreeMTL do; or at the ``label``'s size, on the up-sampled output.
        upsample: How outputs are brought to the label's size, for metrics (and for ``loss_size="label"``). The
            papers use "nearest".
    """

    name: str
    channels: int
    weight: float = 1.0
    loss_size: Literal["output", "label"] = "output"
    upsample: Upsample = "bilinear"

    kind: ClassVar[Kind]

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the scalar loss of output ``[N, K, h, w]``; 0 with zero gradient where no pixel has a label.

        Raises:
            InvalidModel: the output's channels are not the task's.
        """
        total, count = self.loss_sum(output, label)
        return total / count.clamp(min=1)

    def loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over the pixels that count, and how many those are: :meth:`loss` is their quotient.

        Raises:
            InvalidModel: the output's channels are not the task's.
        """
        self.check(output)
        if self.loss_size == "output":
            return self.pixel_loss_sum(output.float(), nearest(label, _size(output)))
        return self.pixel_loss_sum(output_to(output, _size(label), self.upsample), label)

    def check(self, output: Tensor) -> None:
        """Raise InvalidModel where the output does not have the task's channels."""
        if output.ndim != 4 or output.shape[1] != self.channels:
            raise InvalidModel(
                f"the output has shape {list(output.shape)}, expected [N, {self.channels}, h, w]",
                place=f'task "{self.name}" ({self.kind})',
                advice="give the task's head as many output channels as the task has",
            )

    def at_label_size(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the output at the label's size, detached, for metrics."""
        self.check(output)
        return output_to(output.detach(), _size(label), self.upsample)

    @abstractmethod
    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return sum and count as :meth:`loss_sum`, of an output and a label of the same size."""

    @abstractmethod
    def metric(self) -> Metric:
        """Return an empty metric."""

    @property
    @abstractmethod
    def higher_is_better(self) -> Mapping[str, bool]:
        """The metrics that count in comparisons between models, and their directions."""

    @property
    def informative(self) -> Mapping[str, bool]:
        """Further metrics that :meth:`Metric.compute` returns, for tables only, and their directions."""
        return {}

    @abstractmethod
    def predict(self, output: Tensor) -> Tensor:
        """Turn an output ``[N, K, h, w]`` into what its label would be."""

    @abstractmethod
    def picture(self, array: np.ndarray) -> np.ndarray:
        """Show one label or prediction (without batch axis) as uint8 ``[H, W, 3]``."""


def _size(tensor: Tensor) -> tuple[int, int]:
    return int(tensor.shape[-2]), int(tensor.shape[-1])


_CLASSES: dict[Kind, str] = {
    "segmentation": "Segmentation",
    "depth": "Depth",
    "normals": "Normals",
    "edges": "Edges",
    "keypoints": "KeyPoints",
}
_CHANNELS: dict[Kind, int] = {"depth": 1, "normals": 3, "edges": 1, "keypoints": 1}


def make_task(name: str, kind: str, channels: int, **options: Any) -> Task:
    """Make a task of a kind.

    Args:
        name: Name of the task.
        kind: segmentation, depth, normals, edges or keypoints.
        channels: Number of classes, 3 for normals, otherwise 1.
        **options: Fields of the kind's class, e.g. ``weight=5.0`` or, for normals, ``space="paper"``.

    Raises:
        InvalidConfig: an unknown kind or option, or values that do not fit; all of them at once.
    """
    place = f'task "{name}"'
    if kind not in _CLASSES:
        advice = did_you_mean(kind, KINDS) or f"known kinds: {', '.join(KINDS)}"
        raise InvalidConfig(f'unknown kind of task "{kind}"', place=place, advice=advice)
    maker = getattr(importlib.import_module(f"trunkline.train.tasks.{kind}"), _CLASSES[kind])
    problems = [*_option_problems(maker, options, place), *_channel_problems(kind, channels, place)]
    if problems:
        raise InvalidConfig(problems)
    made: Task = maker(name=name, channels=channels, **options)
    return made


def _channel_problems(kind: Kind, channels: int, place: str) -> list[Problem]:
    if kind == "segmentation":
        return [] if 2 <= channels <= 255 else [Problem(f"{channels} classes, expected 2 to 255", place)]
    wanted = _CHANNELS[kind]
    return [] if channels == wanted else [Problem(f"{channels} channels, {kind} needs {wanted}", place)]


def _option_problems(maker: type[Task], options: Mapping[str, Any], place: str) -> list[Problem]:
    known = [field.name for field in dataclasses.fields(maker) if field.name not in ("name", "channels")]
    hints = get_type_hints(maker)
    problems = []
    for option, value in options.items():
        if option not in known:
            advice = did_you_mean(option, known) or f"known options: {', '.join(known)}"
            problems.append(Problem(f'unknown option "{option}"', place, advice))
        elif not _fits(value, hints[option]):
            problems.append(Problem(f"{option} = {value!r}, expected {_describe(hints[option])}", place))
    return problems


def _fits(value: object, hint: Any) -> bool:
    """Say whether a value suits an option's type: a choice of words, or a number from 0 on."""
    choices = get_args(hint)
    if isinstance(value, str):
        return value in choices or any(value in get_args(choice) for choice in choices)
    number = hint is float or float in choices
    return number and isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _describe(hint: Any) -> str:
    if hint is float:
        return "a number from 0 on"
    words = [word for choice in get_args(hint) for word in (get_args(choice) or (choice,))]
    return " or ".join("a number from 0 on" if word is float else f'"{word}"' for word in words)
