"""Numbers that are not numbers: where the first one is, in words a user can act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from trunkline.errors import WorkFailed


def first_non_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return name, index and value of the first NaN or infinity in the first tensor that has one, else None."""
    for name, tensor in tensors:
        if not tensor.is_floating_point():
            continue
        bad = ~torch.isfinite(tensor.detach())
        if bool(bad.any()):
            index = [int(number) for number in bad.nonzero()[0]]
            return f"{name} at {index}: {tensor.detach()[tuple(index)].item()}"
    return None


def non_finite(what: str, where: str, suspects: Iterable[tuple[str, Tensor]]) -> WorkFailed:
    """Say that ``what`` is not finite and where the first such value is among the suspects, in causal order."""
    found = first_non_finite(suspects)
    origin = f"the first non-finite value is in {found}" if found else "every tensor it was computed from is finite"
    return WorkFailed(
        f"{what} is not finite; {origin}",
        place=where,
        advice="no parameter was moved by it, and the last checkpoint is good: lower the learning rate, "
        "set `clip_norm`, use float32, or mend the sample",
    )


def require_finite_state(state: Mapping[str, Tensor], where: str) -> None:
    """Refuse to save what no run could use again.

    Raises:
        WorkFailed: A tensor, named, holds a NaN or an infinity.
    """
    found = first_non_finite(state.items())
    if found is not None:
        raise WorkFailed(
            f"not saved: the first non-finite value is in {found}",
            place=where,
            advice="the last checkpoint is good: lower the learning rate or set `clip_norm`, and resume",
        )
