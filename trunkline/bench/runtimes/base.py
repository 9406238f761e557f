"""What the bench needs of a runtime: a session whose timed region is stated and whose settings are read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from trunkline.bench.runtimes.inputs import Array, FedInput
from trunkline.bench.settings import Settings
from trunkline.graph.graph import Graph


class TimedSession(Protocol):
    """One loaded model, ready to run on inputs it already holds.

    Attributes:
        region: What lies inside the timed region, in words.
        provider: What really executes the model, as read back from the runtime.
        threads: Threads inside one operator.
        spinning: Whether idle threads burn cycles; ``None`` where the runtime does not say.
        inputs: What it is fed with.
    """

    region: str
    provider: str
    threads: int
    spinning: bool | None
    inputs: tuple[FedInput, ...]

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


class Runtime(Protocol):
    """Something that turns a model into a :class:`TimedSession`."""

    def prepare(self, model: Path | Graph, settings: Settings) -> TimedSession:
        """Load ``model``, make its inputs, and run it once.

        Raises:
            InvalidModel: The model cannot be loaded or its inputs cannot be made.
            WorkFailed: The runtime or its provider is not available, or the model cannot run on it.
        """
        ...
