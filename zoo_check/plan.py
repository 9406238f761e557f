"""One architecture of the table, and the ways it is exported in."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["cnn", "hybrid", "transformer"]
Maker = Literal["torchvision", "timm", "pytorchcv", "segmentation", "ultralytics"]
Exporter = Literal["torchscript", "dynamo"]

TORCHSCRIPT_OPSETS = (11, 13, 17, 18, 20)
"""20 is the newest that torch's exporter by tracing knows."""
DYNAMO_OPSETS = (18, 20, 21, 22, 23)
"""Both ends of what torch's exporter by ``torch.export`` writes, and what lies between."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network.

    Attributes:
        maker: The package that builds it.
        name: The package's name for it.
        family: Networks of one family are made of the same blocks.
        kind: ``cnn`` has no attention between positions, ``transformer`` works on tokens or windows throughout,
            ``hybrid`` has stages of both.
        size: Height and width of the image.
        first_opset: The oldest opset at which an exporter knows all its operators.
        only_by: The one exporter that can write it, where the other cannot.
        arguments: What the builder is told besides the name.
        variant: Tells two entries of one name apart.
        last: The submodule whose output a head should read, where the package does not say it by itself.
        stages: Likewise, the submodules of the pyramid.
    """

    maker: Maker
    name: str
    family: str
    kind: Kind
    size: tuple[int, int] = (64, 96)
    first_opset: int = 11
    only_by: Exporter | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    variant: str = ""
    last: str = ""
    stages: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What files are named after."""
        parts = (self.maker, self.name.removesuffix(".yaml"), self.variant)
        return "-".join(part.replace("/", "_") for part in parts if part)

    def but(self, **changes: object) -> Architecture:
        """Return a copy with these attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Export:
    """One architecture, and how it is exported.

    Attributes:
        free_batch: Whether the file leaves the batch open; otherwise it is 1.
        keeps_batchnorm: Whether the exporter by tracing is told not to fold BatchNormalization into convolutions.
    """

    architecture: Architecture
    exporter: Exporter
    opset: int
    free_batch: bool
    keeps_batchnorm: bool = False

    @property
    def label(self) -> str:
        """What the file is named after."""
        batch = "free" if self.free_batch else "fixed"
        kept = "-bn" if self.keeps_batchnorm else ""
        return f"{self.architecture.label}-{self.exporter}{self.opset}{kept}-{batch}"


def family(
    name: str, kind: Kind, maker: Maker, names: str | Sequence[str], *, first_opset: int = 0, **settings: object
) -> list[Architecture]:
    """Return the architectures of one family; ``names`` may be one text with spaces between.

    Attention needs operators that exporters write from opset 14 on, so what is no ``cnn`` starts at 17.
    """
    oldest = first_opset or (11 if kind == "cnn" else 17)
    listed = names.split() if isinstance(names, str) else names
    return [Architecture(maker, one, name, kind, first_opset=oldest).but(**settings) for one in listed]


def exports(architecture: Architecture) -> list[Export]:
    """Return one export, or two, chosen by the label alone, so that a new row of the table changes no other."""
    draw = zlib.crc32(architecture.label.encode())
    traced, exported = _traced(architecture, draw >> 4), _dynamo(architecture, draw >> 16)
    if architecture.only_by is not None:
        return [traced if architecture.only_by == "torchscript" else exported]
    return [[traced, exported], [traced], [exported], [traced], [exported]][draw % 5]


def _traced(architecture: Architecture, draw: int) -> Export:
    opsets = [opset for opset in TORCHSCRIPT_OPSETS if opset >= architecture.first_opset]
    opset, draw = opsets[draw % len(opsets)], draw // len(opsets)
    return Export(architecture, "torchscript", opset, bool(draw % 2), keeps_batchnorm=draw // 2 % 2 == 0)


def _dynamo(architecture: Architecture, draw: int) -> Export:
    opset, draw = DYNAMO_OPSETS[draw % len(DYNAMO_OPSETS)], draw // len(DYNAMO_OPSETS)
    return Export(architecture, "dynamo", opset, bool(draw % 2))
