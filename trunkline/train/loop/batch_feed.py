"""Batches for a run: which splits there are, and the next few batches made ahead of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.train.data.base import DataSets
from trunkline.train.data.batches import Batch, Batches, in_order
from trunkline.train.data.splits import Split

_T = TypeVar("_T")


class BatchSource(Protocol):
    """Endless batches by number."""

    def batch(self, step: int) -> Batch:
        """Return batch ``step``: a pure function of ``step``, callable from another thread."""


@dataclass(frozen=True, slots=True)
class SplitData:
    """What a runner reads.

    Attributes:
        training: Endless batches by name of split, such as ``train``, ``train1``, ``train2``.
        validation: By name of split, a function that returns every sample once, not augmented.
    """

    training: Mapping[str, BatchSource]
    validation: Mapping[str, Callable[[], Iterable[Batch]]]

    def source(self, name: str) -> BatchSource:
        """Return the training split ``name``; raises InvalidConfig."""
        return _known(name, self.training, "training")

    def evaluation(self, name: str) -> Iterable[Batch]:
        """Return the batches of validation split ``name``; raises InvalidConfig."""
        return _known(name, self.validation, "validation")()


def split_data(
    datasets: DataSets, policy_split: Split, *, batch_size: int, seed: int, augment: bool = True
) -> SplitData:
    """Return the splits every phase of this package asks for.

    ``train`` is all training samples; ``train1`` and ``train2`` are its disjoint parts for weights and policy;
    ``val``, if there is one, and ``test`` are for evaluation.

    Args:
        datasets: The data.
        policy_split: Which training samples are ``train1`` and ``train2``.
        batch_size: Samples per step, and per batch of an evaluation.
        seed: Decides the order and the augmentation.
        augment: Whether training samples are augmented.
    """
    chosen = {"train": None, "train1": policy_split.train1, "train2": policy_split.train2}
    training = {name: Batches(datasets.train, part, batch_size, seed, augment) for name, part in chosen.items()}
    evaluated = {name: part for name, part in datasets.parts.items() if name != "train"}
    return SplitData(training, {name: partial(in_order, part, batch_size) for name, part in evaluated.items()})


class Lookahead(Iterator[Batch]):
    """Batches in the order they will be needed, made ahead by one thread, which ends with the ``with`` block.

    Args:
        data: Where batches come from.
        wanted: Pairs of a training split and the number of a batch in it.
        ahead: Batches to have ready or in the making.
    """

    def __init__(self, data: SplitData, wanted: Iterable[tuple[str, int]], ahead: int = 2) -> None:
        self._data = data
        self._wanted = iter(wanted)
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="trunkline-batches")
        self._pending: deque[Future[Batch]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __next__(self) -> Batch:
        while len(self._pending) < self._ahead:
            request = next(self._wanted, None)
            if request is None:
                break
            name, number = request
            self._pending.append(self._pool.submit(self._data.source(name).batch, number))
        if not self._pending:
            raise StopIteration
        return self._pending.popleft().result()


def _known(name: str, splits: Mapping[str, _T], purpose: str) -> _T:
    if name not in splits:
        advice = did_you_mean(name, splits) or f"there is: {', '.join(splits)}"
        raise InvalidConfig(f'there is no {purpose} split "{name}"', place="split", advice=advice)
    return splits[name]
