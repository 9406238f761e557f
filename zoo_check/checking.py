"""Read each export and compare it; each in a process of its own."""

from __future__ import annotations

import hashlib
import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trunkline.errors import TrunklineError
from trunkline.graph.graph import Graph
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin
from trunkline.verbs.convert import convert
from trunkline.verbs.inspect import inspect_graph
from zoo_check.bounded import Bounds, Json, run_bounded
from zoo_check.checked import Checked
from zoo_check.compare import (
    FLOAT32_SLACK,
    LARGEST_ERROR,
    Runtime,
    count_agrees,
    largest_error,
    last_agrees,
    one_by_one,
    several_agree,
    shapes,
)
from zoo_check.exported import Exported
from zoo_check.noise import Array, images
from zoo_check.precise import in_float64

Right = Callable[[Array], list[Array]]
"""Gives the right outputs for a batch of images ``[N, C, H, W]``."""

_BATCH = 2
_PARITY_INPUTS = 2
_PACKAGES = ("torch", "onnx", "onnxruntime", "numpy")


def check_all(wanted: Sequence[Exported], folder: Path) -> Iterator[Checked]:
    """Check these exports of ``folder`` and keep what comes of each beside it.

    Raises:
        SystemExit: Trunkline's sources changed on the way, so that results would be of two states.
    """
    state = state_of_sources()
    for facts in wanted:
        checked = replace(check_bounded(facts, folder), state=state)
        if state_of_sources() != state:
            raise SystemExit("the sources of trunkline/ changed while they were checked; start it again to go on")
        checked.write(folder)
        yield checked


def check_bounded(facts: Exported, folder: Path) -> Checked:
    """Check one export in a process of its own; what kills that is a crash."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ended = run_bounded(_check, facts.to_json(), folder, log=logs / f"{facts.label}.log", bounds=Bounds())
    checked = Checked(facts.label, "crash", ended.why) if ended.result is None else Checked(**ended.result)
    versions = {package: version(package) for package in _PACKAGES}
    return replace(checked, cpu_s=round(ended.cpu_s, 1), peak_bytes=ended.peak_bytes, versions=versions)


def state_of_sources() -> str:
    """Return a number that changes with any source file of Trunkline."""
    import trunkline

    root = Path(trunkline.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def describe(checked: Checked) -> str:
    """Return one result in a line."""
    wrong = [
        f"{what} {agreement}"
        for what, agreement in (("count", checked.count), ("map", checked.last_map), ("pyramid", checked.several))
        if agreement in ("wrong", "none")
    ]
    detail = checked.message or ", ".join(wrong)
    return f"{checked.label}: {checked.verdict}{': ' + detail if detail else ''} ({checked.cpu_s:.0f} s)"


def _check(facts: Mapping[str, Any], folder: Path) -> Json:
    torch.set_num_threads(1)
    warnings.simplefilter("error")  # a warning from a library is ours to foresee
    path = folder / f"{facts['label']}.onnx"
    try:
        graph = read(path)
    except TrunklineError as error:
        return refusal(facts["label"], error, path.name).to_json()
    return judged(graph, facts, lambda batch: one_by_one(path, batch), lambda batch: in_float64(path, batch)).to_json()


def judged(graph: Graph, facts: Mapping[str, Any], right: Right, precise: Right) -> Checked:
    """Return what comes of a Graph: its own outputs, written and as a twin, beside the right ones.

    Args:
        graph: What was read.
        facts: What is right for it, as :class:`zoo_check.exported.Exported` writes it.
        right: Gives the right outputs for a batch of images, in float32.
        precise: Gives them in float64; it is asked where float32 does not agree.
    """
    label = facts["label"]
    inspection = inspect_graph(graph)
    batch = images(_BATCH, facts["size"])
    expected = right(batch)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "model.onnx"
        try:
            convert(graph, out, parity_inputs=_PARITY_INPUTS)
        except TrunklineError as failure:
            return replace(refusal(label, failure, ""), verdict="not written")
        error, difference = _worst(_ways(graph, out, batch), expected)
        float32_error = 0.0
        if difference:
            error, difference, float32_error = _in_float64(graph, out, batch, expected, precise(batch))
    return Checked(
        label,
        "wrong" if difference else "read",
        message=difference,
        error=error,
        float32_error=float32_error,
        trainable=inspection.stored.trainable,
        count=count_agrees(inspection.stored.trainable, facts),
        features=(shapes(inspection.features) or [[]])[0],
        last_map=last_agrees(inspection, facts),
        pyramid=shapes(inspection.pyramid),
        several=several_agree(inspection, facts),
    )


def _in_float64(
    graph: Graph, out: Path, batch: Array, expected: Sequence[Array], precise: Sequence[Array]
) -> tuple[float, str, float]:
    """Judge by float64 what two float32 computations do not agree on.

    Some networks of random numbers magnify rounding until no digit is left, and onnxruntime computes some files badly.
    What was read is right then if it is right in float64, and in float32 not much further off than the file itself.

    Returns:
        The twin's error in float64, what is wrong, and the float32 error of the file itself.
    """
    float32_error, _ = largest_error(expected, precise, bound=math.inf)
    with torch.no_grad():
        outputs = Twin(graph).eval().double()(torch.from_numpy(batch).double())
    error, difference = largest_error([np.asarray(output) for output in outputs.values()], precise)
    if difference:
        return error, f"the twin in float64: {difference}", float32_error
    bound = max(LARGEST_ERROR, FLOAT32_SLACK * float32_error)
    _, difference = _worst(_ways(graph, out, batch), precise, bound=bound)
    return error, difference, float32_error


def refusal(label: str, error: TrunklineError, file: str) -> Checked:
    """Return what an error of ours says."""
    first, *others = error.problems
    message = f"{first.message}; and {len(others)} more" if others else first.message
    return Checked(label, "refused", message, first.place, first.advice, names_file=file in str(error))


def _ways(graph: Graph, out: Path, batch: Array) -> Iterator[tuple[str, list[Array]]]:
    """Yield the outputs in each way in which they can be had."""
    written = Runtime(out)
    yield "the written file, one batch", written(batch)
    yield "the written file, image by image", one_by_one(out, batch)
    with torch.no_grad():
        outputs = Twin(graph).eval()(torch.from_numpy(batch))
    yield "the twin", [np.asarray(output) for output in outputs.values()]


def _worst(
    ways: Iterable[tuple[str, list[Array]]], expected: Sequence[Array], *, bound: float = LARGEST_ERROR
) -> tuple[float, str]:
    worst = 0.0
    for way, found in ways:
        error, difference = largest_error(found, expected, bound=bound)
        if difference:
            return error if np.isfinite(error) else -1.0, f"{way}: {difference}"
        worst = max(worst, error)
    return worst, ""


def main() -> int:
    """Check the exports that are named on the command line: ``python -m zoo_check.checking FOLDER LABEL…``."""
    from zoo_check.exported import read_exported

    folder, labels = Path(sys.argv[1]), set(sys.argv[2:])
    wanted = [facts for facts in read_exported(folder) if facts.label in labels and not facts.error]
    for checked in check_all(wanted, folder):
        sys.stdout.write(describe(checked) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
