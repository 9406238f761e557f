"""Whether a node still means what its case expects at another opset, by programs that are not ours."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from conformance.cases import Array, Case

RTOL, ATOL = 1e-3, 1e-5
"""ONNX's own runner compares with 1e-3 and 1e-7; a sum of many float32 numbers near 0 needs the latter wider."""

NEWEST_RUN = 26
"""onnxruntime knows no newer opset."""


def difference(got: dict[str, Array], want: dict[str, Array]) -> str:
    """Return the first difference in type, shape or value, in a few words; empty where there is none."""
    for name, expected in want.items():
        ours = got[name]
        if ours.dtype != expected.dtype:
            return f"{name}: type {ours.dtype}, expected {expected.dtype}"
        if ours.shape != expected.shape:
            return f"{name}: shape {list(ours.shape)}, expected {list(expected.shape)}"
        if not _close(ours, expected):
            return f"{name}: values differ"
    return ""


def is_valid(case: Case, opset: int) -> bool:
    """Whether ONNX accepts the node at ``opset`` and onnxruntime, or else ONNX's reference, computes the results.

    A case is always valid at the opset it was generated for.
    """
    if opset == case.opset:
        return True
    if not onnx.defs.has(case.op, opset, ""):
        return False
    model = case.model(opset)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    got = by_onnxruntime(model, case) if opset <= NEWEST_RUN else None
    if got is None and _same_revision(case, opset):
        got = _by_reference(model, case)
    return got is not None and not difference(got, case.results)


def by_onnxruntime(model: onnx.ModelProto, case: Case) -> dict[str, Array] | None:
    """Return what onnxruntime computes, by name, for the operands that ``model`` asks for; ``None`` where it cannot."""
    import onnxruntime as ort

    operands = {value.name: case.operands[value.name] for value in model.graph.input}
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(list(case.results), operands)
    except Exception:  # its errors have no common base that is public
        return None
    return {name: np.asarray(result) for name, result in zip(case.results, results, strict=True)}


def _same_revision(case: Case, opset: int) -> bool:
    """ONNX's reference computes some old revisions as if they were new, so it is only asked about the case's own."""
    revisions = {onnx.defs.get_schema(case.op, version, "").since_version for version in (opset, case.opset)}
    return len(revisions) == 1


def _by_reference(model: onnx.ModelProto, case: Case) -> dict[str, Array] | None:
    try:
        results = ReferenceEvaluator(model).run(None, case.operands)
    except Exception:  # whatever stops the reference, it is no witness then
        return None
    assert isinstance(results, list)
    return {name: np.asarray(result) for name, result in zip(case.results, results, strict=True)}


def _close(ours: Array, expected: Array) -> bool:
    if ours.dtype.kind in "biuOSU":
        return bool(np.array_equal(ours, expected))
    wide = np.complex128 if ours.dtype.kind == "c" else np.float64
    return bool(np.allclose(ours.astype(wide), expected.astype(wide), rtol=RTOL, atol=ATOL, equal_nan=True))
