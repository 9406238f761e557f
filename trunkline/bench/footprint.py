"""What a candidate takes besides time: disk, memory, and how long it needs to start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trunkline.graph.graph import Graph


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a candidate takes; ``None`` for what was not measured.

    Attributes:
        file_bytes: Its files, with the weights that Trunkline writes beside a large one.
        start_up_ms: From its files to the first result of each, in a process whose runtime has already run something.
        peak_memory_bytes: What that process took at most, beyond what it had before: weights, workspace, results.
        device_memory_bytes: The most that it took of a device of its own.
    """

    file_bytes: int | None = None
    start_up_ms: float | None = None
    peak_memory_bytes: int | None = None
    device_memory_bytes: int | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return plain data."""
        return asdict(self)


UNKNOWN_FOOTPRINT = Footprint()


def file_bytes(models: Sequence[Path | Graph]) -> int | None:
    """Return the size of all files; ``None`` where a model is not one."""
    total = 0
    for model in models:
        if isinstance(model, Graph):
            return None
        beside = Path(f"{model}.data")
        total += model.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)
    return total
