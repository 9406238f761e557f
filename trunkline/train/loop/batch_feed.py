"""Batches for a run: parts of the training samples, splits to evaluate, and a few batches made ahead of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from types import TracebackType
from typing import Protocol, Self

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.recipe import Part
from trunkline.text import quoted
from trunkline.train.data.base import DataSets
from trunkline.train.data.batches import Batch, Batches, in_order
from trunkline.train.data.smaller import smaller
from trunkline.train.data.training_parts import batches_of


class BatchSource(Protocol):
    """Endless batches by number."""

    def batch(self, step: int) -> Batch:
        """Return batch ``step``: a pure function of ``step``, callable from another thread."""


@dataclass(frozen=True, slots=True)
class SplitData:
    """The training and validation samples that a runner reads.

    Attributes:
        training: Returns the endless batches of a part of the training samples; raises InvalidConfig.
        validation: By name of split, a function that returns every sample once, not augmented.
        smaller: Returns the same at a share of the images' height and width; None where that cannot be had.
    """

    training: Callable[[Part], BatchSource]
    validation: Mapping[str, Callable[[], Iterable[Batch]]]
    smaller: Callable[[float], SplitData] | None = None

    def at(self, resolution: float) -> SplitData:
        """Return the same samples at a share of their height and width.

        Raises:
            InvalidConfig: They cannot be had at another size.
        """
        if resolution == 1.0:
            return self
        if self.smaller is None:
            raise InvalidConfig("the images are there at one size only", place="resolution")
        return self.smaller(resolution)

    def source(self, part: Part) -> BatchSource:
        """Return the batches of a part of the training samples.

        Raises:
            InvalidConfig: There are too few samples to cut a part out of them.
        """
        return self.training(part)

    def evaluation(self, name: str) -> Iterable[Batch]:
        """Return the batches of validation split ``name``; raises InvalidConfig."""
        if name not in self.validation:
            advice = did_you_mean(name, self.validation) or f"there is: {', '.join(self.validation)}"
            raise InvalidConfig(f"there is no validation split {quoted(name)}", place="split", advice=advice)
        return self.validation[name]()


def split_data(datasets: DataSets, *, batch_size: int, seed: int, augment: bool = True) -> SplitData:
    """Return the batches of data sets: parts of ``train`` for training; ``val``, if there is one, and ``test``.

    Args:
        datasets: The data sets of the run.
        batch_size: Samples per step, and per batch of an evaluation.
        seed: Decides the order and the augmentation.
        augment: Whether training samples are augmented.
    """

    # Needed at every step: the order of a part's samples is drawn once, not once a batch.
    @cache
    def training(part: Part) -> Batches:
        return batches_of(datasets.train, part, batch_size=batch_size, seed=seed, augment=augment)

    def at_share(resolution: float) -> SplitData:
        return split_data(smaller(datasets, resolution), batch_size=batch_size, seed=seed, augment=augment)

    evaluated = {name: split for name, split in datasets.parts.items() if name != "train"}
    validation = {name: partial(in_order, split, batch_size) for name, split in evaluated.items()}
    return SplitData(training, validation, at_share)


class PrefetchedBatches(Iterator[Batch]):
    """Batches in the order they will be needed, made ahead by one thread, which ends with the ``with`` block.

    Args:
        data: The samples that batches are made of.
        wanted: Pairs of a part of the training samples and the number of a batch of it.
        ahead: Batches that are ready or being made at any time.
    """

    def __init__(self, data: SplitData, wanted: Iterable[tuple[Part, int]], ahead: int = 2) -> None:
        self._data = data
        self._wanted = iter(wanted)
        self._ahead = ahead
        # A thread, not a process: decoding in Pillow and arithmetic in numpy let other threads run meanwhile.
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
            part, number = request
            self._pending.append(self._pool.submit(self._data.source(part).batch, number))
        if not self._pending:
            raise StopIteration
        # What went wrong with a sample is raised here, at the step that reads it, and not in the thread.
        return self._pending.popleft().result()
