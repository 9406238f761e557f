"""Compare what was read with what is right: numbers, count of parameters, feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.verbs.inspect import InspectedMap, Inspection
from zoo_check.checked import Agreement
from zoo_check.noise import Array

LARGEST_ERROR = 1e-3
"""As a part of an output's largest magnitude. float32 through a hundred layers makes 1e-5, a misread layer 0.1."""

FLOAT32_SLACK = 4.0
"""How many times the file's own float32 error ours may be, where float32 alone makes more than that."""


class Runtime:
    """One ONNX file in onnxruntime, on one thread."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        providers = ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception:  # it makes some files worse before it runs them, and refuses what it has made
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        self._input: str = self._session.get_inputs()[0].name

    def __call__(self, batch: Array) -> list[Array]:
        """Return the outputs for a batch of images, in the file's order."""
        return list(self._session.run(None, {self._input: batch}))


def one_by_one(path: Path, batch: Array) -> list[Array]:
    """Return what a file computes for images that never meet: any file can be asked this, its batch fixed or free."""
    runtime = Runtime(path)
    single = [runtime(batch[index : index + 1]) for index in range(len(batch))]
    return [np.concatenate(outputs) for outputs in zip(*single, strict=True)]


def largest_error(found: Sequence[Array], right: Sequence[Array], *, bound: float = LARGEST_ERROR) -> tuple[float, str]:
    """Return the largest error as a part of its output's magnitude, and what is wrong; empty where nothing is."""
    if len(found) != len(right):
        return float("inf"), f"{len(found)} outputs; the file has {len(right)}"
    worst = 0.0
    for index, (ours, own) in enumerate(zip(found, right, strict=True)):
        if ours.shape != own.shape:
            return float("inf"), f"output {index} is {list(ours.shape)}; the file computes {list(own.shape)}"
        scale = float(np.abs(own).max()) or 1.0
        error = float(np.abs(ours.astype(np.float64) - own).max()) / scale
        if not error <= bound:  # NaN too
            return error, f"output {index} differs by {error:.2g} of its largest magnitude"
        worst = max(worst, error)
    return worst, ""


def count_agrees(trainable: int, facts: Mapping[str, Any]) -> Agreement:
    """Whether ``trainable`` is torch's count, where the file still stores every parameter of the module."""
    if facts["stored"] != facts["parameters"]:
        return "unknown"
    return "right" if trainable == facts["parameters"] else "wrong"


def last_agrees(inspection: Inspection, facts: Mapping[str, Any]) -> Agreement:
    """Whether the default feature is the right map."""
    found = shapes(inspection.features)
    if not facts["maps_known"]:
        return "unknown"
    if not found:
        return "right" if facts["tokens"] else "none"
    return "right" if len(found) == 1 and _is_last(found[0], facts) else "wrong"


def several_agree(inspection: Inspection, facts: Mapping[str, Any]) -> Agreement:
    """Whether the maps for a head of several are the right ones; a package need not name all the finer ones."""
    found, right = shapes(inspection.pyramid), facts["pyramid"]
    found = found[-len(right) :]
    if not facts["maps_known"] or not right:
        return "unknown"
    if not found:
        return "right" if facts["tokens"] else "none"
    return "right" if found[:-1] == right[:-1] and _is_last(found[-1], facts) else "wrong"


def _is_last(shape: Sequence[int], facts: Mapping[str, Any]) -> bool:
    return shape in (facts["last"], facts["last_too"])


def shapes(maps: Sequence[InspectedMap]) -> list[list[int]]:
    """Return the maps as ``[C, H, W]``."""
    return [[size or 0 for size in found.shape[1:]] for found in maps]
