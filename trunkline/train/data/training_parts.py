"""The part of the training samples that a turn reads: a stretch of all samples in a random order.

A policy trained on the samples that its weights have seen would prefer whatever over-fits them, so searches train the
two on disjoint parts (AdaShare and AutoMTL keep ``train1`` and ``train2``, 80 % and 20 %).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig
from trunkline.recipe import Part
from trunkline.train.data.base import DataSet, random_generator
from trunkline.train.data.batches import Batches

_ORDER_STREAM = 7_001
_REMIX_STREAM = 7_004


def batches_of(dataset: DataSet, part: Part, *, batch_size: int, seed: int, augment: bool = True) -> Batches:
    """Return endless batches of a part of ``dataset``.

    Raises:
        InvalidConfig: The data set has too few samples to be cut.
    """
    if part.is_all:
        return Batches(dataset, None, batch_size, seed, augment)
    if len(dataset) < 2:
        text = f"{len(dataset)} training sample(s) cannot be cut in two parts, at least 2 are needed"
        raise InvalidConfig(text, place="policy_fraction")
    # MTL-NAS halves the samples again in every epoch; AdaShare, AutoMTL and BMTAS once.
    if part.remix:
        return _Remixed(dataset, part, batch_size, seed, augment)
    return Batches(dataset, sorted(samples_of(len(dataset), part, seed)), batch_size, seed, augment)


def samples_of(length: int, part: Part, seed: int, epoch: int = 0) -> list[int]:
    """Return the numbers of the samples in a part, in the order that the part is a stretch of.

    Args:
        length: Number of training samples.
        part: The stretch of them that is wanted.
        seed: Decides the order that it is a stretch of.
        epoch: Number of the pass over the part; only a remixed one differs from pass to pass.

    Raises:
        InvalidConfig: The stretch is so short that no sample lies in it.
    """
    stream = (_REMIX_STREAM, epoch) if part.remix else (_ORDER_STREAM,)
    order = random_generator(seed, *stream).permutation(length)
    samples: list[int] = _stretch(order, part).tolist()
    return samples


class _Remixed(Batches):
    """A part whose samples are drawn again for every pass over it."""

    def __init__(self, dataset: DataSet, part: Part, batch_size: int, seed: int, augment: bool) -> None:
        self._part = part
        super().__init__(dataset, samples_of(len(dataset), part, seed), batch_size, seed, augment)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        # Parts of one order never overlap, so two turns that read halves of it stay apart in every pass.
        return np.array(samples_of(len(self.dataset), self._part, self.seed, epoch), np.int64)


def _stretch(order: NDArray[np.int64], part: Part) -> NDArray[np.int64]:
    begin, end = (_boundary(len(order), bound) for bound in part.share)
    if begin >= end:
        text = f"{len(order)} training samples have none from {part.share[0]:g} to {part.share[1]:g}"
        raise InvalidConfig(text, place="policy_fraction", advice="give more samples, or a larger part")
    return order[begin:end]


def _boundary(length: int, bound: float) -> int:
    """Return where a stretch begins or ends; one that is not the whole leaves at least one sample on either side."""
    if bound in (0.0, 1.0):
        return round(bound) * length
    return min(max(1, round(length * bound)), length - 1)
