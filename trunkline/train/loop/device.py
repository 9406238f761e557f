"""Device and precision of a run. Those that are requested are used, or the run fails: there is no fall-back."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.text import quoted

Precision = Literal["float32", "bfloat16"]

# Without leading zeros: torch refuses those, as it does "cuda:" and "cpu:1".
_DEVICE = re.compile(r"cpu|cuda(?::(?P<number>0|[1-9][0-9]*))?")


@dataclass(frozen=True, slots=True)
class Compute:
    """Device and precision of a run.

    Attributes:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``bfloat16`` runs the model under autocast; weights, losses and optimisers stay float32.

    >>> Compute("cpu", "bfloat16").resolve()
    device(type='cpu')
    """

    device: str = "cpu"
    precision: Precision = "float32"

    def resolve(self) -> torch.device:
        """Return the device.

        Raises:
            InvalidConfig: Neither ``cpu`` nor ``cuda``, or an unknown precision.
            WorkFailed: The wanted CUDA device is one that torch cannot use here.
        """
        if self.precision not in get_args(Precision):
            raise InvalidConfig(
                f"precision {quoted(self.precision)} is not one of {', '.join(get_args(Precision))}", place="precision"
            )
        found = _DEVICE.fullmatch(self.device)
        if found is None:
            message = f'device {quoted(self.device)} is neither "cpu" nor "cuda" nor "cuda:N"'
            raise InvalidConfig(message, place="device")
        if self.device != "cpu":
            _check_cuda(int(found["number"] or 0))
        return torch.device(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the model runs."""
        if self.precision == "float32":
            return nullcontext()
        # bfloat16 has float32's range of exponents, so that gradients need no loss scaling as in float16.
        return torch.autocast(self.device.partition(":")[0], dtype=torch.bfloat16)


def _check_cuda(number: int) -> None:
    # torch.device("cuda:7") itself looks at nothing; the first tensor on it would fail, in the middle of the work.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number < count:
        return
    found = f"torch {torch.__version__} finds {count} CUDA device(s)"
    raise WorkFailed(
        f"CUDA device {number} was asked for, but {found}",
        place="device",
        advice='set device = "cpu", or install a driver and a torch build with CUDA; see `trunkline doctor`',
    )
