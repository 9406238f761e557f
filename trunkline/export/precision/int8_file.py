"""A file in 8-bit integers, and the parts of a model that may each stay in float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import onnx

from trunkline.export.count import count_file
from trunkline.export.exporter import ExportResult
from trunkline.export.formats.onnx_model import check_file
from trunkline.export.parity.quantised import check_quantised
from trunkline.export.parity.reference import Array
from trunkline.export.precision.int8 import QUANTISED, Ranges
from trunkline.export.provenance import PRECISION_KEY, PREFIX
from trunkline.files.staging import staged
from trunkline.graph.graph import HEAD, PART_KEY, TASKS_KEY, UNIT_KEY


def export_int8(ranges: Ranges, path: str | Path, keep: Collection[str], images: Sequence[Array]) -> ExportResult:
    """Write the quantised model, and deliver it only if the runtime computes what it says.

    Args:
        ranges: Of the model's tensors.
        path: The file to write.
        keep: Names of nodes that stay in float32.
        images: Batches ``[N, C, H, W]`` to prove it on.

    Raises:
        ParityFailure: The runtime's 8-bit kernels are wrong; there is no file under ``path`` then.
        WorkFailed: The disk is full, or the result is not valid ONNX.
    """
    final = Path(path)
    with staged(final) as target:
        ranges.quantised(target, keep)
        _sign(target)
        check_file(target)
        parity = check_quantised(target, ranges.model, images)
        parity.raise_if_failed()
        count = count_file(target)
        file_bytes = target.stat().st_size
    # As many numbers were trained as before; most are stored as integers now, which no count takes for weights.
    trained = count_file(ranges.model).parameters
    return ExportResult(final, parity, count.nodes, trained, count.macs, file_bytes)


def quantised_parts(model: Path) -> dict[str, tuple[str, ...]]:
    """Return the names of the nodes that would be quantised, by the part of the model that they belong to.

    A part is a unit of the backbone, or the head of a task, whatever instance of it: a decision about which parts are
    too sensitive is one that a person can read. A file without owners is one part for each node.
    """
    parts: dict[str, list[str]] = {}
    for node in onnx.load(model, load_external_data=False).graph.node:
        if node.op_type in QUANTISED:
            props = {item.key: item.value for item in node.metadata_props}
            parts.setdefault(_part_of(node, props), []).append(node.name)
    return {name: tuple(nodes) for name, nodes in parts.items()}


def _part_of(node: onnx.NodeProto, props: Mapping[str, str]) -> str:
    if props.get(PART_KEY) == HEAD:
        return f"head of {props.get(TASKS_KEY, node.name)}"
    return props.get(UNIT_KEY) or node.name


def _sign(target: Path) -> None:
    """Say who wrote the file and what it computes in, in place of the quantiser's own marks."""
    model = onnx.load(target)
    ours = {item.key: item.value for item in model.metadata_props if item.key.startswith(PREFIX)}
    ours[PRECISION_KEY] = "int8"
    del model.metadata_props[:]
    for key, value in sorted(ours.items()):
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "trunkline", ours.get(f"{PREFIX}version", "")
    onnx.save(model, target)
