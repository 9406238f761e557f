"""The tree of a file → its name, its inputs and the layers that are deployed."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.errors import did_you_mean
from trunkline.ingest.prototxt.fields import Fields
from trunkline.ingest.prototxt.limits import PrototxtLimits
from trunkline.ingest.prototxt.phase import is_deployed
from trunkline.ingest.prototxt.report import Report
from trunkline.ingest.prototxt.source import Span, quoted
from trunkline.ingest.prototxt.tree import Message
from trunkline.ingest.prototxt.upgrade import current_type

_SOLVER_FIELDS = ("base_lr", "lr_policy", "max_iter", "net", "train_net", "test_iter")
_HARMLESS = ("blobs_lr", "debug_info", "loss_weight", "phase", "propagate_down", "weight_decay")

Names = tuple[tuple[str, Span], ...]


@dataclass(frozen=True, slots=True)
class LayerText:
    """A layer as written: its name, type and blobs, with the fields left for its translator."""

    name: str
    type: str
    at: Span
    fields: Fields
    bottoms: Names
    tops: Names

    def __str__(self) -> str:
        return f"{self.type} {quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Net:
    """What a file says, layers of other phases left out."""

    name: str
    fields: Fields
    layers: tuple[LayerText, ...]


def read_net(root: Message, report: Report, limits: PrototxtLimits) -> Net:
    """Read the file's own fields and the heads of its layers.

    The inputs stay in ``fields``, for :mod:`trunkline.ingest.prototxt.inputs`.
    """
    fields = Fields(root, report, "the file", limits.size)
    fields.ignore("force_backward", "debug_info", "state")
    _refuse_solver(root, report)
    layers: list[LayerText] = []
    count = 0
    for item in root.fields:
        if item.name not in ("layer", "layers") or not isinstance(item.value, Message):
            continue
        count += 1
        layer = _layer(item.value, report, limits, position=count)
        if layer is not None:
            layers.append(layer)
    fields.has("layer")
    fields.has("layers")
    if not count and not report.count:
        report.error("the file declares no layers", root.at, "a network is a list of layer { … } blocks")
    _refuse_duplicates(layers, report)
    return Net(fields.string("name"), fields, tuple(layers))


def _layer(block: Message, report: Report, limits: PrototxtLimits, position: int) -> LayerText | None:
    head = Fields(block, report, f"layer {position}", limits.size)
    kind = current_type(head.string("type"))
    name = head.string("name") or f"{kind or 'layer'}_{position}"
    fields = Fields(block, report, f"{kind or 'layer'} {quoted(name)}", limits.size)
    fields.ignore("name", "type", *_HARMLESS)
    if not is_deployed(fields):
        return None
    if not kind:
        advice = "this is Caffe's V0 format: upgrade it with Caffe's own tool" if head.has("layer") else 'add type: "…"'
        report.error(f"layer {quoted(name)} has no type", block.at, advice)
        return None
    return LayerText(
        name, kind, head.where("name"), fields, tuple(fields.strings("bottom")), tuple(fields.strings("top"))
    )


def _refuse_solver(root: Message, report: Report) -> None:
    """A solver file is the usual wrong file to give; say so instead of listing its fields."""
    names = {item.name for item in root.fields}
    solver = [item for item in root.fields if item.name in _SOLVER_FIELDS]
    if solver and not names & {"layer", "layers"}:
        report.error("this is a solver file, not a network", solver[0].at, "give the network file it names")
    elif not names & {"layer", "layers"} and root.fields:
        first = root.fields[0]
        advice = did_you_mean(first.name, ("layer", "layers", "name", "input")) or "is this a network prototxt?"
        report.error(f"the file declares no layers; its first field is {quoted(first.name)}", first.at, advice)


def _refuse_duplicates(layers: list[LayerText], report: Report) -> None:
    seen: dict[str, LayerText] = {}
    for layer in layers:
        first = seen.setdefault(layer.name, layer)
        if first is not layer:
            report.error(
                f"two layers are called {quoted(layer.name)}; the first is at line {first.at.line}",
                layer.at,
                "rename one: weights are named after their layer",
            )
