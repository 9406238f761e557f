"""``python -m zoo_check.exporting``: write the exports of the table; run by the zoo's own environment."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from zoo_check import noise
from zoo_check.architectures import planned
from zoo_check.bounded import Bounds, Json, run_bounded
from zoo_check.compare import largest_error, one_by_one
from zoo_check.exported import FACTS, Exported
from zoo_check.makers import make, tensors_of
from zoo_check.plan import Export
from zoo_check.precise import in_float64
from zoo_check.truth import batchnorm_calls, maps_of, used_parameters
from zoo_check.weights import dependence, images, randomise

_PACKAGES = {
    "torchvision": "torchvision",
    "timm": "timm",
    "pytorchcv": "pytorchcv",
    "segmentation": "segmentation-models-pytorch",
    "ultralytics": "ultralytics",
}
LEAST_DEPENDENCE = 1e-3
_SAME = 1e-2


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the exports that are named on the command line and not there yet."""
    parser = argparse.ArgumentParser(prog="python -m zoo_check.exporting", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("labels", nargs="*", help="of exports; all where none is named")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    _import_makers()
    wanted = [export for export in planned() if not options.labels or export.label in options.labels]
    missing = [export for export in wanted if not (options.folder / f"{export.label}{FACTS}").exists()]
    for number, export in enumerate(missing, 1):
        facts = export_bounded(export, options.folder)
        outcome = f"not exported: {facts.error}" if facts.error else f"{facts.file_bytes / 1e6:.1f} MB"
        sys.stdout.write(f"[{number}/{len(missing)}] {export.label}: {outcome} ({facts.cpu_s:.0f} s)\n")
        sys.stdout.flush()
    return 0


def export_bounded(export: Export, folder: Path) -> Exported:
    """Write one export in a process of its own, and the facts about it; a failure is a fact too."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ended = run_bounded(_export, export, folder, log=logs / f"{export.label}.export", bounds=Bounds())
    facts = _planned_facts(export, error=ended.why) if ended.result is None else Exported(**ended.result)
    facts = replace(facts, cpu_s=round(ended.cpu_s, 1))
    if facts.error:
        (folder / f"{export.label}.onnx").unlink(missing_ok=True)
    facts.write(folder)
    return facts


def _import_makers() -> None:
    """Import once, in the parent of all workers, what takes seconds to import."""
    import onnxscript  # type: ignore[import-untyped,unused-ignore]  # noqa: F401
    import segmentation_models_pytorch  # noqa: F401
    import timm  # noqa: F401
    import torchvision  # noqa: F401


def _planned_facts(export: Export, **known: Any) -> Exported:
    architecture = export.architecture
    packages = ("torch", "onnx", "onnxscript", _PACKAGES[architecture.maker])
    return Exported(
        label=export.label,
        architecture=architecture.label,
        maker=architecture.maker,
        family=architecture.family,
        kind=architecture.kind,
        exporter=export.exporter,
        opset=export.opset,
        keeps_batchnorm=export.keeps_batchnorm,
        size=list(architecture.size),
        batch=None if export.free_batch else 1,
        versions={package: version(package) for package in packages},
        **known,
    )


def _export(export: Export, folder: Path) -> Json:
    architecture = export.architecture
    module = make(architecture)
    randomise(module, architecture.size)
    changes = dependence(module, architecture.size)
    if changes < LEAST_DEPENDENCE:
        raise RuntimeError(f"the outputs change by {changes:.2g} from one image to another: the weights need work")
    parameters = used_parameters(module, architecture.size)
    batchnorms = batchnorm_calls(module, architecture.size)
    maps = maps_of(module, architecture)
    path = folder / f"{export.label}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _EXPORTERS[export.exporter](module, export, path)
    stored, batchnorms_stored = _stored(path, parameters)
    facts = _planned_facts(
        export,
        parameters=sum(parameter.numel() for parameter in parameters.values()),
        stored=stored,
        batchnorms=batchnorms,
        batchnorms_stored=batchnorms_stored,
        dependence=changes,
        maps_known=maps.known,
        last=maps.last,
        last_too=maps.last_too,
        tokens=maps.tokens,
        pyramid=list(maps.pyramid),
        file_bytes=path.stat().st_size,
    )
    check_same(module, path, architecture.size)
    return facts.to_json()


@torch.no_grad()
def check_same(module: nn.Module, path: Path, size: tuple[int, int]) -> None:
    """Check that the file computes what the module does, for images that the exporter has not seen.

    A module that looks at its image while it runs, as one that follows the peaks of a heatmap, cannot be traced: what
    is written is right for one image.

    Raises:
        RuntimeError: It does not.
    """
    batch = noise.images(2, size, seed=2)
    expected = [np.asarray(output) for output in tensors_of(module.double()(torch.from_numpy(batch).double()))]
    _, difference = largest_error(one_by_one(path, batch), expected, bound=_SAME)
    if difference:  # float32 may be to blame
        _, difference = largest_error(in_float64(path, batch), expected, bound=_SAME)
    if difference:
        raise RuntimeError(f"the file does not compute what the module does: {difference}")


def _by_tracing(module: nn.Module, export: Export, path: Path) -> None:
    training = torch.onnx.TrainingMode
    torch.onnx.export(
        module,
        (images(1, export.architecture.size),),
        path,
        dynamo=False,
        opset_version=export.opset,
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}} if export.free_batch else None,
        training=training.PRESERVE if export.keeps_batchnorm else training.EVAL,
    )


def _by_dynamo(module: nn.Module, export: Export, path: Path) -> None:
    free = {0: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        module,
        (images(2 if export.free_batch else 1, export.architecture.size),),
        path,
        dynamo=True,
        opset_version=export.opset,
        input_names=["image"],
        dynamic_shapes=(free,) if export.free_batch else None,
        external_data=False,
        verbose=False,
    )


_EXPORTERS = {"torchscript": _by_tracing, "dynamo": _by_dynamo}


def _stored(path: Path, parameters: dict[str, Tensor]) -> tuple[int, int]:
    """Return how many parameters the file holds with their own values, and its number of BatchNormalizations."""
    graph = onnx.load(path).graph
    nodes = [node for node in graph.node if node.op_type == "Constant"]
    tensors = [*graph.initializer, *(item.t for node in nodes for item in node.attribute if item.name == "value")]
    kept = {_digest(torch.tensor(numpy_helper.to_array(tensor))) for tensor in tensors}
    found = sum(parameter.numel() for parameter in parameters.values() if _digest(parameter) in kept)
    return found, sum(node.op_type == "BatchNormalization" for node in graph.node)


def _digest(tensor: Tensor) -> bytes:
    """Return the values in order of size: a transposed weight is the same weight."""
    return tensor.detach().float().flatten().sort().values.numpy().tobytes()


if __name__ == "__main__":
    sys.exit(main())
