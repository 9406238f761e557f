"""The tree of a file → its name, its inputs and its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trunkline.ingest.prototxt.network.phase import is_deployed, read_state
from trunkline.ingest.prototxt.network.upgrade_v1 import upgraded
from trunkline.ingest.prototxt.text.fields import Fields
from trunkline.ingest.prototxt.text.guess import guess
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.ingest.prototxt.text.source import Span
from trunkline.ingest.prototxt.text.tree import Message
from trunkline.limits import Limits
from trunkline.text import quoted

_SOLVER_FIELDS = frozenset(
    {
        *("base_lr", "lr_policy", "max_iter", "momentum", "net", "net_param", "snapshot", "snapshot_prefix"),
        *("solver_mode", "solver_type", "stepsize", "test_interval", "test_iter", "test_net", "train_net"),
    }
)
_SHOWN = 4
_ROUNDED = (
    "quantization_param was left out: it rounds numbers to few bits (Intel's fork, Ristretto); the float net is read"
)

BlobNames = tuple[tuple[str, Span], ...]


@dataclass(frozen=True, slots=True)
class LayerText:
    """A layer as written: its name, type and blobs, with the fields left for its translator."""

    name: str
    type: str
    at: Span
    fields: Fields
    bottoms: BlobNames
    tops: BlobNames

    def __str__(self) -> str:
        return f"{self.type} {quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Net:
    """A file as a network.

    Attributes:
        name: The network's name; empty where the file gives none.
        fields: The fields of the file itself, with the inputs.
        layers: The layers of the deployed network.
        left_out: Layers whose ``include`` and ``exclude`` rules leave them out of it.
    """

    name: str
    fields: Fields
    layers: tuple[LayerText, ...]
    left_out: tuple[LayerText, ...]


def read_net(root: Message, report: FileReport, limits: Limits) -> Net:
    """Read the file's own fields and the heads of its layers.

    The inputs stay in ``fields``, for :mod:`trunkline.ingest.prototxt.network.inputs`.
    """
    fields = Fields(root, report, "the file", limits.size)
    state = read_state(fields)
    _refuse_solver(root, report)
    layers: list[LayerText] = []
    left_out: list[LayerText] = []
    for count, block in enumerate(_blocks(root), 1):
        layer = _layer(block, report, limits, position=count)
        if is_deployed(layer.fields, state):
            layers.append(layer)
        else:
            left_out.append(layer)
    fields.ignore("layer", "layers")
    if not layers and not left_out and not report.count:
        report.error("the file declares no layers", root.at, "a network is a list of layer { … } blocks")
    _refuse_untyped(layers, report)
    _note_left_out(left_out, report)
    return Net(fields.string("name"), fields, tuple(layer for layer in layers if layer.type), tuple(left_out))


def _blocks(root: Message) -> Iterator[Message]:
    for item in root.fields:
        if isinstance(item.value, Message) and item.name in ("layer", "layers"):
            yield upgraded(item.value) if item.name == "layers" else item.value


def _layer(block: Message, report: FileReport, limits: Limits, position: int) -> LayerText:
    # Errors name a layer by its type and name, so these two are read first, under the layer's number.
    head = Fields(block, report, f"layer {position}", limits.size)
    kind = head.string("type")
    name = head.string("name") or f"{kind or 'layer'}_{position}"
    fields = Fields(block, report, f"{kind or 'layer'} {quoted(name)}", limits.size)
    fields.ignore("name", "type")
    if fields.has("quantization_param"):
        report.note(_ROUNDED)
    bottoms, tops = tuple(fields.names("bottom")), tuple(fields.names("top"))
    return LayerText(name, kind, head.where("name"), fields, bottoms, tops)


def _refuse_untyped(layers: Sequence[LayerText], report: FileReport) -> None:
    untyped = [layer for layer in layers if not layer.type]
    # In V0 a layer's type and settings lie one block deeper: layers { layer { … } bottom: … top: … }.
    nested = [layer for layer in untyped if layer.fields.has("layer")]
    if nested:
        advice = "upgrade it with Caffe's tool upgrade_net_proto_text"
        report.error("this file is in Caffe's V0 format, of 2013", nested[0].fields.at, advice)
        return
    for layer in untyped:
        report.error(f"layer {quoted(layer.name)} has no type", layer.fields.at, 'add type: "…"')


def _note_left_out(layers: Sequence[LayerText], report: FileReport) -> None:
    if not layers:
        return
    names = ", ".join(map(str, layers[:_SHOWN]))
    if len(layers) > _SHOWN:
        names += " and others"
    count = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
    report.note(f"{count} of another phase, level or stage left out: {names}")


def _refuse_solver(root: Message, report: FileReport) -> None:
    """Refuse a solver file, the usual wrong file to give, in one error instead of one for each of its fields."""
    names = {item.name for item in root.fields}
    solver = [item for item in root.fields if item.name in _SOLVER_FIELDS]
    if solver and not names & {"layer", "layers"}:
        report.error("this is a solver file, not a network", solver[0].at, "give the network file it names")
    elif not names & {"layer", "layers"} and root.fields:
        first = root.fields[0]
        if first.name == "item":  # SSD's map from class numbers to names, which lies beside the network
            report.error("the file declares no layers: it is a label map", first.at, "give the network file")
            return
        advice = guess(first.name, ("layer", "layers", "name", "input")) or "is this a network prototxt?"
        report.error(f"the file declares no layers; its first field is {quoted(first.name)}", first.at, advice)
