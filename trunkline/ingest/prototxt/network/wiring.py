"""Blob names → single-assignment blobs: who writes what, who reads it, and under which name it lives on.

Caffe layers may write onto their own input (top = bottom). In a Graph every value is written once, so such a
result gets the layer's name; any other result keeps its top's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trunkline.ingest.prototxt.network.blob_names import BlobNames
from trunkline.ingest.prototxt.network.inputs import NetInput
from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.ingest.prototxt.text.source import Span
from trunkline.text import quoted


@dataclass(eq=False, slots=True)
class WiredBlob:
    """One value, written once: by a layer, or as the input."""

    name: str
    readers: list[Wired] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a layer's place among the others; ``misspelt`` is a blob name that does not exist."""

    message: str
    at: Span
    advice: str
    misspelt: str = ""


@dataclass(eq=False, slots=True)
class Wired:
    """A layer with its blobs. A bottom is ``None`` where it could not be resolved.

    ``scale`` is the Scale layer that a Caffe BatchNorm has absorbed. ``faults`` wait here, because a layer that the
    features do not need may have any.
    """

    text: LayerText
    bottoms: list[WiredBlob | None]
    tops: list[WiredBlob]
    scale: LayerText | None = None
    faults: list[Fault] = field(default_factory=list)


def alias_undefined_input(
    layers: Sequence[LayerText], inputs: Sequence[NetInput], report: FileReport
) -> dict[str, str]:
    """Return the repair of a header that names the input differently from the layer that reads it.

    AutoMTL's files declare ``blob1`` and read ``data``. The repair is made only where it is certain: one
    declared input that nothing reads, and one blob that is read but neither written nor declared.

    Returns:
        ``{undefined name: declared name}``, or an empty mapping.
    """
    if len(inputs) != 1:
        return {}
    written = {name for layer in layers for name, _ in layer.tops}
    read = {name for layer in layers for name, _ in layer.bottoms}
    undefined = read - written - {inputs[0].name}
    if len(undefined) != 1 or inputs[0].name in read:
        return {}
    name = undefined.pop()
    report.note(f"blob {quoted(name)} is read but never written; taken as the input {quoted(inputs[0].name)}")
    return {name: inputs[0].name}


def wire(
    layers: Sequence[LayerText], inputs: Iterable[str], alias: dict[str, str], names: BlobNames
) -> tuple[dict[str, WiredBlob], list[Wired]]:
    """Resolve every bottom to the blob it reads; where that fails, the layer gets a fault.

    Returns:
        The input blobs by name, and the layers in the order of the file.
    """
    declared = {name: WiredBlob(name) for name in inputs}
    return declared, _Wiring(layers, declared, alias, names).run()


def absorb_scales(layers: Sequence[Wired]) -> list[Wired]:
    """Join each BatchNorm with the Scale layer that alone reads it, as Caffe users mean the pair.

    The pair takes the place of its Scale layer, so that outputs keep the order of the file.
    """
    norms: dict[int, Wired] = {}
    for layer in layers:
        follower = _scale_after(layer)
        if follower is not None:
            layer.scale, layer.tops = follower.text, follower.tops
            layer.faults += follower.faults
            norms[id(follower)] = layer
    return [norms.get(id(layer), layer) for layer in layers if layer.scale is None]


def _scale_after(layer: Wired) -> Wired | None:
    """Return the Scale layer that alone reads a BatchNorm, or ``None``."""
    if layer.text.type != "BatchNorm" or len(layer.tops) != 1:
        return None
    readers = layer.tops[0].readers
    if len(readers) != 1:  # another reader needs the value between the two, which the pair no longer has
        return None
    follower = readers[0]
    # With two bottoms a Scale layer's factor is computed: it is no weight that a BatchNormalization could hold.
    is_plain = len(follower.bottoms) == 1 and len(follower.tops) == 1
    return follower if follower.text.type == "Scale" and is_plain else None


class _Wiring:
    def __init__(
        self,
        layers: Sequence[LayerText],
        declared: dict[str, WiredBlob],
        alias: dict[str, str],
        names: BlobNames,
    ) -> None:
        self.layers = layers
        self.current = dict(declared)
        self.alias = alias
        self.names = names
        self.writers: dict[str, LayerText] = {}
        for layer in layers:
            for name, _ in layer.tops:
                self.writers.setdefault(name, layer)  # the first one: later ones work in place

    def run(self) -> list[Wired]:
        wired: list[Wired] = []
        for layer in self.layers:
            item = Wired(layer, [], [])
            # Bottoms before tops: a layer that works in place reads the blob that it then replaces.
            item.bottoms = [self.bottom(item, name, at) for name, at in layer.bottoms]
            for blob in item.bottoms:
                if blob is not None:
                    blob.readers.append(item)
            item.tops = [self.top(item, name, at) for name, at in layer.tops]
            wired.append(item)
        return wired

    def bottom(self, layer: Wired, name: str, at: Span) -> WiredBlob | None:
        blob = self.current.get(self.alias.get(name, name))
        if blob is None:
            self.refuse_bottom(layer, name, at)
        return blob

    def top(self, layer: Wired, name: str, at: Span) -> WiredBlob:
        in_place = any(name == bottom for bottom, _ in layer.text.bottoms)
        # Caffe, too, allows a blob a second writer only in place.
        if name in self.current and not in_place:
            message = f"{layer.text} writes blob {quoted(name)}, which an earlier layer or the input already is"
            layer.faults.append(Fault(message, at, "rename this top"))
        blob = WiredBlob(self.names.new(layer.text.name) if in_place else self.names.reserved(name))
        self.current[name] = blob
        return blob

    def refuse_bottom(self, wired: Wired, name: str, at: Span) -> None:
        layer, writer = wired.text, self.writers.get(name)
        if writer is layer:
            message, advice = f"{layer} reads blob {quoted(name)}, which only it writes", "a layer cannot read itself"
        elif writer is not None:
            message = f"{layer} reads blob {quoted(name)}, which {writer} writes only at line {writer.at.line}"
            advice = "layers must follow what they read; a cycle is not possible"
        else:
            message = f"{layer} reads blob {quoted(name)}, which no layer writes"
            wired.faults.append(Fault(message, at, "is the bottom misspelt, or its layer missing?", name))
            return
        wired.faults.append(Fault(message, at, advice))
