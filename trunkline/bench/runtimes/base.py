"""What the bench needs of a runtime: a session whose timed region is stated and whose settings are read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from trunkline.bench.runtimes.inputs import Array, FedInput
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.text import quoted


class TimedSession(Protocol):
    """One loaded model, ready to run on inputs it already holds.

    Attributes:
        region: What lies inside the timed region, in words.
        provider: What really executes the model, as read back from the runtime.
        threads: Threads inside one operator.
        spinning: Whether idle threads burn cycles; ``None`` where the runtime does not say.
        inputs: What it is fed with.
        start_up_ms: From the file to the first result: reading, compiling, one run. What only the bench does in
            between, such as drawing inputs, is not in it, and neither is the import of the runtime's package.
    """

    region: str
    provider: str
    threads: int
    spinning: bool | None
    inputs: tuple[FedInput, ...]
    start_up_ms: float

    @property
    def device_memory_bytes(self) -> int | None:
        """Most memory that it has taken of a device of its own; ``None`` without one, and where that is not known."""
        ...

    @property
    def device_ms(self) -> float | None:
        """What a device of its own took for the last run, by its own events; ``None`` where none tells."""
        ...

    def feed(self, index: int) -> None:
        """Choose input ``index`` (modulo the number prepared) for the next run. Not timed."""

    def run(self) -> None:
        """Execute the model once; returns when the outputs are complete. This, and only this, is timed."""

    def outputs(self) -> dict[str, Array]:
        """Return copies of the outputs of the last run. Not timed."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Return the runtime's name, version and options."""
        ...

    def close(self) -> None:
        """Give back memory and restore process-wide settings."""


class Runtime(ABC):
    """Something that turns a model into a :class:`TimedSession`; each file of this folder may define one.

    Attributes:
        name: What ``--runtime`` calls it.
        providers: What it can run on; the first is taken where nothing is asked for.
        precisions: What it can compute a file's float32 in.
        needs: What must be installed for it, in words.
        one_allocator: Whether its sessions tell the device memory of the whole process, and not each its own.
    """

    name: ClassVar[str]
    providers: ClassVar[tuple[str, ...]]
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    needs: ClassVar[str]
    one_allocator: ClassVar[bool] = False

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Keep what a file may ask for where Trunkline reads it itself."""
        self._limits = limits

    @abstractmethod
    def prepare(self, model: Path | Graph, settings: Settings) -> TimedSession:
        """Load ``model``, make its inputs, and run it once.

        What is asked for really runs, every node of it, or this raises.

        Raises:
            InvalidConfig: The runtime does not run on the provider of ``settings``.
            InvalidModel: The model cannot be loaded or its inputs cannot be made.
            WorkFailed: The runtime or its provider is not available, or the model cannot run on it.
        """

    @classmethod
    def require(cls, settings: Settings) -> None:
        """Refuse a provider or a precision that this runtime does not have.

        Raises:
            InvalidConfig: It has others.
        """
        cls.require_provider(settings.provider)
        if settings.precision not in cls.precisions:
            raise InvalidConfig(
                f"runtime {quoted(cls.name)} computes in {' or '.join(cls.precisions)}, not in {settings.precision}",
                place="bench.precision",
                advice="leave it out: other precisions are written into the file",
            )

    @classmethod
    def require_provider(cls, provider: str) -> None:
        """Refuse a provider that this runtime does not have.

        Raises:
            InvalidConfig: It runs on others.
        """
        if provider in cls.providers:
            return
        others = " or ".join(cls.providers)
        raise InvalidConfig(
            f"runtime {quoted(cls.name)} runs on {others}, not on {provider}",
            place="bench.provider",
            advice=f"write {cls.providers[0]}, or take another runtime",
        )
