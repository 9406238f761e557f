"""What stands beside each exported file: where it came from, and what is right for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from zoo_check.bounded import Json

FACTS = ".json"
MODULES = "modules"
"""The folder, beside the exports, for modules that are read without a file."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One export, or one attempt that the exporter gave up.

    Attributes:
        label: The file is ``label.onnx``.
        error: Why there is no file; empty where there is one.
        size: Height and width of the image.
        batch: The batch the file is for; ``None`` where it is free.
        parameters: How many parameters the outputs depend on, counted by torch.
        stored: How many of them the file stores with their own values. Where all, a reader can count as torch does.
        batchnorms: How many times the module computes a BatchNormalization.
        batchnorms_stored: How many the file has.
        dependence: How much the outputs change with the image; see :mod:`zoo_check.weights`.
        maps_known: Whether the right feature maps are known.
        last: The right default feature ``[C, H, W]``.
        last_too: Another that is as good.
        tokens: Whether to find none is as good, because the map is a sequence in the file.
        pyramid: The right maps for a head of several, the finest first; empty where not known.
        versions: Of the packages that built and wrote it.
    """

    label: str
    architecture: str
    maker: str
    family: str
    kind: str
    exporter: str
    opset: int
    keeps_batchnorm: bool
    size: list[int]
    batch: int | None
    error: str = ""
    parameters: int = 0
    stored: int = 0
    batchnorms: int = 0
    batchnorms_stored: int = 0
    dependence: float = 0.0
    maps_known: bool = False
    last: list[int] | None = None
    last_too: list[int] | None = None
    tokens: bool = False
    pyramid: list[list[int]] = field(default_factory=list)
    file_bytes: int = 0
    cpu_s: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return it as plain JSON types."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Write it beside its file."""
        text = json.dumps(self.to_json(), indent=1)
        temporary = folder / f".{self.label}.tmp"
        temporary.write_text(text)
        temporary.replace(folder / f"{self.label}{FACTS}")


def read_exported(folder: Path) -> Iterator[Exported]:
    """Yield what lies in ``folder``, by name."""
    for path in sorted(folder.glob(f"*{FACTS}")):
        yield Exported(**json.loads(path.read_text()))
