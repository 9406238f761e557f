"""What a candidate takes besides time: disk, memory, and how long it needs to start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph
from trunkline.ingest.onnx_file.data_files import data_files


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a candidate takes; ``None`` for what was not measured.

    Attributes:
        file_bytes: Its files, with weights that lie beside them.
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
    """Return the size of all files, with weights that lie beside them; ``None`` where a model is no ONNX file."""
    total = 0
    for model in models:
        if isinstance(model, Graph):
            return None
        try:
            total += sum(file.stat().st_size for file in (model, *data_files(model)))
        except InvalidModel:
            # torch runs prototxts too; their weights are another argument's.
            return None
    return total
