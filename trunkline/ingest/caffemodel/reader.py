"""caffemodel → layers with blobs.

WireField numbers are those of Caffe's schema, ``caffe.proto``: ``NetParameter.layer`` holds today's layers,
``NetParameter.layers`` those of before 2014 (``V1LayerParameter``), inside which the oldest files keep a
``V0LayerParameter``. Everything else of the network's description is skipped: the prototxt gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trunkline.errors import InvalidModel, Problem
from trunkline.files.mapped import map_file
from trunkline.files.wire import BYTES, Wire, WireFault, WireField
from trunkline.ingest.caffemodel.blobs import CaffemodelBlob, read_blob
from trunkline.limits import DEFAULT_LIMITS, Budget, Limits, how_to_raise
from trunkline.text import quoted

_NET_V1, _NET_V2 = 2, 100
_V0_IN_V1 = 1
_NAME_BYTES = 1024
_MOST_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class _Schema:
    """Where one generation of layers keeps its name and its blobs."""

    name: int
    blobs: int


_V2, _V1, _V0 = _Schema(1, 7), _Schema(4, 6), _Schema(1, 50)


@dataclass(frozen=True, slots=True)
class CaffemodelLayer:
    """A layer that holds blobs; ``offset`` is the byte at which it starts in the file."""

    name: str
    blobs: tuple[CaffemodelBlob, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Caffemodel:
    """The layers of a file that hold blobs, in its order; their names differ."""

    layers: tuple[CaffemodelLayer, ...]
    label: str


def read_caffemodel(path: Path, limits: Limits = DEFAULT_LIMITS) -> Caffemodel:
    """Read the weights of a ``.caffemodel``; the numbers stay in the file, which is mapped, until they are wanted.

    Raises:
        InvalidModel: All that is wrong with the file, each problem with its layer and its byte.
    """
    return _parse(map_file(path, limits.file_bytes), limits, str(path))


def read_caffemodel_bytes(data: bytes, limits: Limits = DEFAULT_LIMITS, label: str = "<bytes>") -> Caffemodel:
    r"""Read the weights of a caffemodel from memory; see :func:`read_caffemodel`.

    >>> from trunkline.files.wire import FIXED32, head, message, varint
    >>> number = varint(5 << 3 | FIXED32) + bytes.fromhex("0000803f")  # data: 1.0, in a field of its own
    >>> blob = message(7, message(1, b"\x01")) + number  # of shape [1]
    >>> layer = message(1, b"scale1") + message(7, blob)
    >>> model = read_caffemodel_bytes(message(100, layer))
    >>> model.layers[0].name, model.layers[0].blobs[0].array()
    ('scale1', array([1.], dtype=float32))
    """
    if len(data) > limits.file_bytes:
        raise InvalidModel(f"holds {len(data):,} bytes; at most {limits.file_bytes:,} are read", place=label)
    return _parse(memoryview(data), limits, label)


def _parse(data: memoryview, limits: Limits, label: str) -> Caffemodel:
    reader = _CaffemodelReader(data, limits, label)
    reader.run()
    if reader.problems:
        raise InvalidModel(reader.problems)
    return Caffemodel(tuple(reader.layers.values()), label)


class _CaffemodelReader:
    """Goes through one file; a damaged layer is reported, and the next one read."""

    def __init__(self, data: memoryview, limits: Limits, label: str) -> None:
        self.wire = Wire(data, limits.tokens)
        self.limits = limits
        self.label = label
        self.budget = Budget(limits)
        self.layers: dict[str, CaffemodelLayer] = {}
        self.problems: list[Problem] = []
        self._count = 0

    def run(self) -> None:
        found = 0
        try:
            for item in self.wire.fields(0, len(self.wire.data)):
                if item.number in (_NET_V1, _NET_V2):
                    found += 1
                    self._layer(item)
                if len(self.problems) >= _MOST_PROBLEMS:  # so many faults have one cause
                    return
        except WireFault as fault:  # between two layers: where the next one begins is not known any more
            self._report(fault, "")
            return
        if not self.problems and not self.layers:
            what = f"its {found} layers hold no weights" if found else "it holds no Caffe layers"
            self.problems.append(
                Problem(f"no weights: {what}", self.label, "is this the .caffemodel of a trained net?")
            )

    def _layer(self, message: WireField) -> None:
        """Read one layer of the file."""
        self._count += 1
        if self._count > self.limits.nodes:
            advice = how_to_raise("nodes")
            raise WireFault(f"more than {self.limits.nodes:,} layers", message.at, advice)
        name = ""
        try:
            message.expect(BYTES)
            schema = _V2 if message.number == _NET_V2 else _V1
            name, blobs = self._parts(message, schema)
            self._add(name, blobs, message.at)
        except WireFault as fault:
            self._report(fault, name)

    def _parts(self, message: WireField, schema: _Schema) -> tuple[str, list[WireField]]:
        """Return a layer's name and the fields of its blobs; in V0 form they lie one message deeper."""
        name, blobs = "", []
        for item in self.wire.fields(message.start, message.end):
            if item.number == schema.name:
                name = self._text(item)
            elif item.number == schema.blobs:
                blobs.append(item)
            elif schema is _V1 and item.number == _V0_IN_V1:  # field 1 is a string in V2, and a message in V1 only
                item.expect(BYTES)
                inner, more = self._parts(item, _V0)
                name, blobs = name or inner, [*blobs, *more]
        return name, blobs

    def _text(self, item: WireField) -> str:
        item.expect(BYTES)
        if item.end - item.start > _NAME_BYTES:
            raise WireFault(f"a layer name of {item.end - item.start:,} bytes", item.at)
        # proto2, which Caffe's schema is written in, does not check that a string is UTF-8.
        return bytes(self.wire.data[item.start : item.end]).decode("utf-8", "backslashreplace")

    def _add(self, name: str, fields: list[WireField], at: int) -> None:
        """Keep a layer that has blobs, reporting each that is damaged."""
        blobs: list[CaffemodelBlob] = []
        for index, item in enumerate(fields):
            place = f"{self.label}: blob {index} of layer {quoted(name)}"
            try:
                blob = read_blob(self.wire, item, place, self.limits.rank)
                self.budget.charge(place, blob.shape)
                blobs.append(blob)
            except WireFault as fault:
                self._report(fault, name, f"blob {index} of ")
            except InvalidModel as error:
                self.problems.extend(error.problems)
        if not fields:  # a layer without weights matches nothing, so its name does not matter
            return
        if name in self.layers:
            other = self.layers[name].offset
            raise WireFault(f"a second layer of this name holds weights; the first is at byte {other:,}", at)
        self.layers[name] = CaffemodelLayer(name, tuple(blobs), at)

    def _report(self, fault: WireFault, layer: str, part: str = "") -> None:
        where = f", {part}layer {quoted(layer)}" if layer else ""
        self.problems.append(Problem(fault.message, f"{self.label}: byte {fault.offset:,}{where}", fault.advice))
