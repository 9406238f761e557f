"""The same trained model in other precisions, each file beside the float32 one, with parity and its tasks' metrics."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.bench.instructions import Instructions, read_instructions
from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.export.exporter import ExportResult
from trunkline.export.precision.emulated import write_emulated
from trunkline.export.precision.half import HALF
from trunkline.export.precision.half_file import export_half
from trunkline.export.precision.int8 import Int8Settings, Ranges, find_ranges
from trunkline.export.precision.int8_file import export_int8, quantised_parts
from trunkline.files.write import json_ready
from trunkline.pipeline.project import REPORTING, Project
from trunkline.pipeline.tables import FREE_SIZE_IN_FULL, INT8, Precision
from trunkline.text import quoted
from trunkline.train.loop.evaluate import Metrics
from trunkline.train.tasks.relative import RelativePerformance, relative_performance
from trunkline.verbs.file_model import metrics_of_file
from trunkline.verbs.int8_choice import KeptParts, parts_to_keep
from trunkline.verbs.train import TrainResult

PRECISIONS = "precisions.json"
PROOF_IMAGES = 8
"""Images that a quantised file is proved on."""


@dataclass(frozen=True, slots=True)
class PrecisionFile:
    """A delivered file.

    Attributes:
        precision: What it computes in.
        result: The file, with parity.
        metrics: On the split that reports, by task.
        change: Against the float32 file on the same split, in percent.
        in_float32: Nodes of a half-precision file, or parts of an 8-bit one, that stay in float32.
        kept: Of an 8-bit file: how these were chosen.
    """

    precision: Precision
    result: ExportResult
    metrics: Metrics
    change: RelativePerformance
    in_float32: tuple[str, ...] = ()
    kept: KeptParts | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        chosen = None
        if self.kept is not None:
            chosen = {"change_percent": self.kept.change_percent, "recovered": dict(self.kept.recovered)}
        return {
            "precision": self.precision,
            **self.result.to_json(),
            "metrics": self.metrics,
            "change": self.change.to_json(),
            "in_float32": list(self.in_float32),
            "chosen_by": chosen,
        }


@dataclass(frozen=True, slots=True)
class Precisions:
    """Files of one trained model.

    Attributes:
        float32: The first one, which all others are compared with.
        metrics: Its metrics on the split that reports.
        files: The others.
        instructions: What the processor that proved them has; kernels of 8-bit integers differ by that.
    """

    float32: ExportResult
    metrics: Metrics
    files: tuple[PrecisionFile, ...]
    instructions: Instructions

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        first = {"path": str(self.float32.path), "file_bytes": self.float32.file_bytes, "metrics": self.metrics}
        files = [file.to_json() for file in self.files]
        content: dict[str, Any] = json_ready(
            {"float32": first, "files": files, "instructions": self.instructions.to_json()}
        )
        return content


def export_precisions(
    project: Project, trained: TrainResult, float32: ExportResult, precisions: Collection[Precision]
) -> Precisions:
    """Write the trained model in other precisions, beside its float32 file: ``model.int8.onnx`` beside ``model.onnx``.

    Args:
        project: The run, whose ``[export]`` says how.
        trained: The trained model.
        float32: Its file.
        precisions: Which others.

    Raises:
        ParityFailure: A file computes something else than it should; it is not delivered.
        InvalidConfig: A part that is to stay in float32 is not there.
        WorkFailed: A task loses more than it may, or the disk is full.
    """
    refuse_precisions(float32.free_size is not None, precisions)
    made = _Made(project, trained, float32)
    files = tuple(made.file(each) for each in precisions)
    found = Precisions(float32, made.baseline, files, read_instructions())
    project.write_json(PRECISIONS, found.to_json())
    return found


def refuse_precisions(free_size: bool, precisions: Collection[Precision]) -> None:
    """Refuse other precisions of a file with a free image size.

    Raises:
        InvalidConfig: There are some.
    """
    if free_size and precisions:
        raise InvalidConfig(FREE_SIZE_IN_FULL, place=", ".join(precisions))


class _Made:
    def __init__(self, project: Project, trained: TrainResult, float32: ExportResult) -> None:
        self.project, self.trained, self.float32 = project, trained, float32
        self.config = project.config.export
        self.directions = {task.name: task.higher_is_better for task in project.losses}
        self.baseline = self.reported(float32.path)

    def file(self, precision: Precision) -> PrecisionFile:
        path = self.float32.path.with_suffix(f".{precision}{self.float32.path.suffix}")
        if precision == INT8:
            result, kept = self._int8(path)
            return self._judged(precision, result, kept.parts, kept)
        # All files of a run are of one structure: fusion is decided by the float32 file.
        fusion = self.float32.fusion
        half = export_half(
            self.trained.graph,
            self.trained.weights,
            path,
            precision=precision,
            fuse=fusion is not None and fusion.fused,
            parity_inputs=self.config.parity_inputs,
            seed=self.project.config.seed,
            metadata={**self.project.metadata(self.trained.plan.to_json()), **(fusion.to_metadata() if fusion else {})},
        )
        return self._judged(precision, half.result, half.islands)

    def reported(self, path: Path) -> Metrics:
        """Return a file's metrics on the split that reports."""
        return metrics_of_file(path, self.project.losses, self.project.splits.evaluation(REPORTING))

    def _judged(
        self, precision: Precision, result: ExportResult, apart: tuple[str, ...], kept: KeptParts | None = None
    ) -> PrecisionFile:
        with tempfile.TemporaryDirectory() as folder:
            path = result.path
            if precision in HALF:
                # A processor's kernels would not round where the file says so, or not run it.
                path = Path(folder) / path.name
                write_emulated(result.path, path)
            metrics = self.reported(path)
        change = relative_performance(metrics, self.baseline, self.directions)
        return PrecisionFile(precision, result, metrics, change, apart, kept)

    def _int8(self, path: Path) -> tuple[ExportResult, KeptParts]:
        config = self.config
        settings = Int8Settings(config.ranges, config.percentile, config.activations)
        ranges = find_ranges(self.float32.path, self._images(config.calibration_images), settings)
        parts = quantised_parts(self.float32.path)
        unknown = [name for name in config.keep if name not in parts]
        if unknown:
            advice = did_you_mean(unknown[0], list(parts)) or f"there are {', '.join(parts)}"
            raise InvalidConfig(f"the model has no part {quoted(unknown[0])}", place="export.keep", advice=advice)
        kept = parts_to_keep(parts, self._judge(ranges), config.max_drop, config.keep)
        return export_int8(ranges, path, kept.nodes, list(self._images(PROOF_IMAGES))), kept

    def _judge(self, ranges: Ranges) -> Any:
        """Return what evaluates a choice on the samples that choose: those that report must not decide."""
        split = self.project.eval_split
        if split is None:
            text = "no samples are held out to choose by what stays in float32"
            raise InvalidConfig(text, place="data", advice="set `val_fraction` above 0 under [data]")
        tasks, splits = self.project.losses, self.project.splits
        whole = metrics_of_file(self.float32.path, tasks, splits.evaluation(split))

        def judge(nodes: Collection[str]) -> float:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "int8.onnx"
                ranges.quantised(path, nodes)
                metrics = metrics_of_file(path, tasks, splits.evaluation(split))
            change: Mapping[str, float] = relative_performance(metrics, whole, self.directions).by_task
            return min(change.values(), default=math.nan)

        return judge

    def _images(self, count: int) -> Iterator[NDArray[np.float32]]:
        """Yield training images, not augmented, as the model is fed, one by one."""
        data = self.project.data.train
        for index in range(min(count, len(data))):
            yield np.ascontiguousarray(data.sample(index).image, np.float32)[None]
