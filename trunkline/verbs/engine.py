"""``engine``: a TensorRT engine of an ONNX file, or whether a compiler of that family takes the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.export.engine.build import Engine, engine_for
from trunkline.export.engine.options import EngineOptions
from trunkline.export.engine.rtx import CompileCheck, compile_check


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What was made of a model.

    Attributes:
        model: The ONNX file.
        engine: The engine; ``None`` where only a check was asked for.
        check: What TensorRT-RTX says; ``None`` where it was not asked.
    """

    model: Path
    engine: Engine | None = None
    check: CompileCheck | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "model": str(self.model),
            "engine": None if self.engine is None else self.engine.to_json(),
            "check": None if self.check is None else self.check.to_json(),
        }


def engine(model: str | Path, options: EngineOptions | None = None, *, check: bool = False) -> EngineResult:
    """Build the engine of a model for this GPU, or take the one that was built before.

    Args:
        model: An ONNX file.
        options: What it is built for.
        check: Ask TensorRT-RTX instead, which needs no GPU, and build nothing.

    Raises:
        InvalidConfig: A free axis has no range, or a range is for none.
        InvalidModel: There is no such file, or the engine that lies there is not ours.
        WorkFailed: What is needed is not installed, or there is no GPU, or TensorRT refuses the model.
    """
    if check:
        return EngineResult(Path(model), check=compile_check(model, options))
    return EngineResult(Path(model), engine=engine_for(model, options))
