"""What an engine is built for: every choice that changes it, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from trunkline.errors import InvalidConfig
from trunkline.export.engine.size_range import SizeRange

Hardware = Literal["same", "same-compute-capability", "ampere-plus"]
"""On which GPUs an engine runs: the model it was built on, all of its compute capability, or all from Ampere on."""

HARDWARE_LEVELS: Mapping[str, str] = {
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
    "ampere-plus": "AMPERE_PLUS",
}
"""TensorRT's names of the levels that are not its default."""
_LEVELS = range(6)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is built. Its precision is that of the file: networks are strongly typed.

    Attributes:
        batch: Batches that it accepts.
        sizes: Sizes of other axes that the file leaves open, by name, or by ``INPUT:INDEX``.
        workspace_bytes: Memory of the GPU that a kernel may use while it runs; all of it where not given.
        version_compatible: Let later versions of TensorRT load it too. It is slower, and carries code with it.
        hardware: On which GPUs it runs; all but the default may be slower.
        tf32: Let float32 convolutions round their inputs to 10 bits of mantissa, which is outside the parity tolerance.
        level: TensorRT's optimisation level, 0 to 5; higher builds longer. Its own where not given.

    Raises:
        InvalidConfig: A number is out of its range.
    """

    batch: SizeRange = field(default_factory=SizeRange)
    sizes: Mapping[str, SizeRange] = field(default_factory=dict)
    workspace_bytes: int | None = None
    version_compatible: bool = False
    hardware: Hardware = "same"
    tf32: bool = False
    level: int | None = None

    def __post_init__(self) -> None:
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise InvalidConfig("the workspace needs at least a byte", place="engine.workspace_bytes")
        if self.level is not None and self.level not in _LEVELS:
            raise InvalidConfig(f"{self.level} is no optimisation level", place="engine.level", advice="0 to 5")
        if self.hardware not in ("same", *HARDWARE_LEVELS):
            advice = f"use same, {' or '.join(HARDWARE_LEVELS)}"
            raise InvalidConfig(f'unknown level "{self.hardware}"', place="engine.hardware", advice=advice)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, ranges as ``least,best,most``."""
        plain = asdict(self)
        return plain | {"batch": str(self.batch), "sizes": {name: str(span) for name, span in self.sizes.items()}}
