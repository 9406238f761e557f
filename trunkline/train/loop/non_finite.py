"""NaNs and infinities: which tensor holds the first one, and what the user can do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from trunkline.errors import WorkFailed


def first_non_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return name, index and value of the first NaN or infinity in the first tensor that has one, else None."""
    for name, tensor in tensors:
        if not tensor.is_floating_point():  # integers, such as class labels, are always finite
            continue
        bad = ~torch.isfinite(tensor.detach())
        if bool(bad.any()):
            index = [int(number) for number in bad.nonzero()[0]]
            return f"{name} at {index}: {tensor.detach()[tuple(index)].item()}"
    return None


def non_finite_error(what: str, where: str, suspects: Iterable[tuple[str, Tensor]]) -> WorkFailed:
    """Return the error for ``what`` that is not finite, with the first such value among its causes.

    Args:
        what: The loss, term or norm that is not finite.
        where: Phase, turn and step.
        suspects: Tensors by name, causes before their effects.
    """
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
