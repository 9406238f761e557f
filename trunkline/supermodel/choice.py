"""Choice variables: from logits to the (soft) option probabilities that a forward pass uses.

Options are numbered as in AutoMTL: 0 the shared operator, 1 the task's own copy, 2 the skip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trunkline.seeds import seed_of
from trunkline.sharing.plan import SKIP

SHARED, OWN, SKIPPED = 0, 1, 2
OPTIONS = 3


def instance_of(option: int, task: int) -> int | Literal["skip"]:
    """Return a plan's entry for the option of task number ``task``: its own copy is the instance after its number."""
    return (0, task + 1, SKIP)[option]


@dataclass(frozen=True, slots=True)
class Temperature:
    """Gumbel-Softmax temperature as a function of the step: ``start · decay^(step // every)``, floored.

    AutoMTL's release decays 5 by 0.965 every hundred policy steps; with 100 policy steps in 500 that is
    ``every=500``. The paper gives no schedule.
    """

    start: float = 5.0
    decay: float = 0.965
    every: int = 500
    floor: float = 1e-6

    def at(self, step: int) -> float:
        """Return the temperature at ``step``, counted over all turns of the phase."""
        return max(self.floor, self.start * self.decay ** (step // self.every))


def gumbel_noise(shape: tuple[int, ...], *, seed: int, step: int, stream_name: str) -> Tensor:
    """Return standard Gumbel noise, a pure function of its arguments, so that a resumed run repeats it."""
    generator = torch.Generator().manual_seed(seed_of(f"{stream_name}/{step}", seed) % 2**63)
    smallest = torch.finfo(torch.float64).tiny
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64).clamp_(smallest, 1 - 1e-16)
    return -torch.log(-torch.log(uniform))


def masked(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return ``logits`` with options that do not exist at minus infinity."""
    return logits.masked_fill(~allowed, float("-inf"))


def probabilities(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return the learned distribution π = softmax(logits) over the options that exist."""
    return torch.softmax(masked(logits, allowed), dim=-1)


def average(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return equal weights for all options that exist: AutoMTL's pre-training."""
    weights = allowed.to(logits.dtype)
    return weights / weights.sum(dim=-1, keepdim=True)


def argmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return the most likely option as one-hot; ties go to the lowest number, that is, to sharing."""
    best = masked(logits, allowed).argmax(dim=-1, keepdim=True)
    return torch.zeros_like(logits).scatter_(-1, best, 1.0)


def gumbel_softmax(
    logits: Tensor, allowed: Tensor, noise: Tensor, temperature: float, *, straight_through: bool = False
) -> Tensor:
    """Return softmax((G + log π) / τ) (AutoMTL, Sec. 3.2, Eq. 1).

    Args:
        logits: Unnormalised log π, ``[..., K]``.
        allowed: Which options exist, ``[..., K]`` of bool.
        noise: Gumbel noise G, ``[..., K]``.
        temperature: τ > 0.
        straight_through: Give the one-hot sample forward and the soft gradient backward.
    """
    log_pi = torch.log_softmax(masked(logits, allowed), dim=-1)
    soft = torch.softmax((noise + log_pi) / temperature, dim=-1)
    if not straight_through:
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()
