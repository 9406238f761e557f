"""Keep only the layers that some wanted blobs need, so that what comes after them need not be readable."""

from __future__ import annotations

from collections.abc import Container, Sequence

from trunkline.errors import did_you_mean
from trunkline.ingest.prototxt.deployed import SILENCE
from trunkline.ingest.prototxt.network.wiring import Wired, WiredBlob
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.ingest.prototxt.text.source import Span
from trunkline.text import quoted

_FEW = 8
"""Features that a user can be expected to write."""

Wanted = tuple[WiredBlob, str]
"""A blob that becomes an output, and the feature's name; empty for the outputs of the file itself."""


def needed(layers: Sequence[Wired], features: Sequence[str], report: FileReport) -> tuple[list[Wired], list[Wanted]]:
    """Cut a network to what its features need.

    A feature is the name of a value, as the Graph has it: a blob's name, or the name of the layer that works in
    place on it. The name of any other layer means its first top.

    Returns:
        The layers that are left, in order, and the blob of each feature; names that do not exist are reported.
        Without features: all layers, and the blobs that nothing reads.
    """
    if not features:
        return _without_silenced(layers)
    # Reversed, so that of several values or layers of one name the first counts.
    values = {top.name: top for layer in reversed(layers) for top in layer.tops}
    results = {layer.text.name: layer.tops[0] for layer in reversed(layers) if layer.tops}
    known = {**results, **values}
    for name in features:
        if name not in known:
            advice = did_you_mean(name, known) or "features are names of blobs or layers of the deployed network"
            report.error(f"no blob or layer is called {quoted(name)}", Span(1, 1), advice)
    wanted = [(known[name], name) for name in dict.fromkeys(features) if name in known]
    kept = _ancestors(layers, [blob for blob, _ in wanted])
    if len(kept) < len(layers):
        report.note(f"{len(layers) - len(kept)} layers that the features do not need were left out")
    return kept, wanted


def readable_features(layers: Sequence[Wired], known: Container[str]) -> list[str]:
    """Return the features that end a network just before its layers of unknown types.

    They are the results that no other readable layer reads. Where that leaves less than half of the network, or gives
    too many features to write, the unknown layers are not at its end, and there are none.
    """
    lost: set[int] = set()
    clear: set[int] = set()
    for layer in layers:
        is_known = layer.text.type in known and not layer.faults
        reads_lost = any(blob is None or id(blob) in lost for blob in layer.bottoms)
        if is_known and not reads_lost:
            clear.add(id(layer))
        else:
            lost.update(id(top) for top in layer.tops)
    if len(clear) == len(layers) or 2 * len(clear) < len(layers):
        return []
    results = (top for layer in layers if id(layer) in clear for top in _features_of(layer))
    ends = [top for top in results if not _is_read(top, clear)]
    return [top.name for top in ends] if len(ends) <= _FEW else []


def _features_of(layer: Wired) -> Sequence[WiredBlob]:
    """Return what a layer computes, without the mask of a Pooling, which is no feature."""
    return layer.tops[:1] if layer.text.type == "Pooling" else layer.tops


def _is_read(top: WiredBlob, clear: set[int]) -> bool:
    return any(id(reader) in clear for reader in top.readers)


def _without_silenced(layers: Sequence[Wired]) -> tuple[list[Wired], list[Wanted]]:
    """Leave out the Silence layers and what leads to them alone; if that is everything, only the Silence layers."""
    silent: set[int] = set()
    for layer in reversed(layers):  # so all readers of a layer come before it
        leads_to_silence = bool(layer.tops) and all(_is_silenced(top, silent) for top in layer.tops)
        if layer.text.type == SILENCE or leads_to_silence:
            silent.add(id(layer))
    kept = [layer for layer in layers if id(layer) not in silent]
    ends = _unread_tops(kept)
    for layer in layers:
        if layer.text.type == SILENCE:
            _forget_reader(layer)
    if not kept:
        kept = [layer for layer in layers if layer.text.type != SILENCE]
        ends = _unread_tops(kept)
    return kept, [(top, "") for top in ends]


def _unread_tops(layers: Sequence[Wired]) -> list[WiredBlob]:
    """Return the blobs that nothing reads, which are a Caffe network's outputs."""
    return [top for layer in layers for top in layer.tops if not top.readers]


def _forget_reader(layer: Wired) -> None:
    """Take a layer that is left out from the readers of its bottoms."""
    for blob in layer.bottoms:
        if blob is not None and layer in blob.readers:
            blob.readers.remove(layer)


def _is_silenced(top: WiredBlob, silent: set[int]) -> bool:
    return bool(top.readers) and all(id(reader) in silent for reader in top.readers)


def _ancestors(layers: Sequence[Wired], wanted: Sequence[WiredBlob]) -> list[Wired]:
    reached = {id(blob) for blob in wanted}
    kept: list[Wired] = []
    for layer in reversed(layers):
        if any(id(top) in reached for top in layer.tops):
            reached.update(id(blob) for blob in layer.bottoms if blob is not None)
            kept.append(layer)
    kept.reverse()
    return kept
