"""What a translator gets to work with: one layer, its input values, and what it may add to the Graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.errors import TrunklineError
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Attribute, shape_of
from trunkline.ingest.prototxt.layers.site import LayerFaultError, Site
from trunkline.ingest.prototxt.network.dialect import Dialect
from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.network.wiring import Wired
from trunkline.ingest.prototxt.text.fields import Fields
from trunkline.limits import how_to_raise
from trunkline.text import quoted, shape_text

Translate = Callable[["Layer"], ir.Value | Sequence[ir.Value]]


@dataclass(frozen=True, slots=True)
class Translator:
    """How one layer type becomes ONNX nodes, and how many blobs it takes (``None``: any number).

    With ``reads_masks`` a bottom may be the mask of a pooling: positions, not features.
    """

    translate: Translate
    bottoms: tuple[int, int | None] = (1, 1)
    tops: tuple[int, int | None] = (1, 1)
    reads_masks: bool = False


class Layer:
    """One layer being translated."""

    def __init__(self, wired: Wired, inputs: Sequence[ir.Value], site: Site) -> None:
        self.text = wired.text
        self.inputs = list(inputs)
        self.scale = wired.scale
        self.site = site
        self._tops = wired.tops
        self._made: dict[str, ir.Value] = {}
        self._param_names = [
            (block.string("name"), block.where("name")) for block in self._param_blocks(wired.text.fields)
        ]

    @property
    def fields(self) -> Fields:
        """The layer's own fields."""
        return self.text.fields

    @property
    def dialect(self) -> Dialect:
        """The dialect of the file."""
        return self.site.dialect

    def part(self, index: int) -> Layer:
        """Return the same layer for one of its bottoms and its top alone; all parts have the same weights."""
        part = Layer(Wired(self.text, [], [self._tops[index]]), [self.inputs[index]], self.site)
        part._made = self._made
        return part

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of an input without its batch axis."""
        return tuple(size for size in shape_of(self.inputs[index])[1:] if size is not None)

    def image(self) -> tuple[int, int, int]:
        """Return ``(C, H, W)`` of the first input, which must be a feature map."""
        shape = self.shape()
        if len(shape) != 3:
            raise self.layer_error(f"{self.text} needs a feature map N x C x H x W, found {self.written()}")
        return shape[0], shape[1], shape[2]

    def written(self, index: int = 0) -> str:
        """Return the shape of an input as errors show it."""
        return " x ".join(["N", *map(str, self.shape(index))])

    def layer_error(
        self, message: str, field: str = "", advice: str = "", within: Fields | None = None
    ) -> LayerFaultError:
        """Return the error for a layer that makes no sense, at one of its fields if named."""
        if field:
            return LayerFaultError(message, (within or self.fields).where(field), advice)
        return LayerFaultError(message, within.at if within else self.text.at, advice)

    def missing_field_error(self, fields: Fields, name: str, advice: str) -> LayerFaultError:
        """Return the error for a required field that is absent, pointing at its misspelling if there is one."""
        similar = fields.similar(name)
        if similar:
            message = f"{self.text} has no {name}, but an unknown field {quoted(similar[0])}"
            return LayerFaultError(message, similar[1], f'did you mean "{name}"?')
        return self.layer_error(f"{self.text} has no {name}", name, advice, fields)

    def absorbed(self, text: LayerText) -> Layer:
        """Return the layer that this one has taken in, to name weights and errors after it."""
        return Layer(Wired(text, [], self._tops), self.inputs, self.site)

    def refuse_partly_shared(self, count: int) -> None:
        """Raise if the file shares some of the first ``count`` blobs, which belong together, but not all."""
        names = [(name, at) for name, at in self._param_names[:count] if name]
        if names and len(names) < count:
            name, at = names[0]
            message = f"{self.text} shares its statistics only in part: {quoted(name)}"
            raise LayerFaultError(message, at, f"give its first {count} params a name, or none")

    def axis(self, fields: Fields, default: int = 1, name: str = "axis") -> int:
        """Return an axis field, counted from the front; the batch axis is refused."""
        rank = len(self.shape()) + 1
        given = fields.integer(name, default, minimum=-8)
        axis = given + rank if given < 0 else given  # Caffe, too, counts negative axes from the end
        if axis == 0:
            raise self.layer_error(f"{self.text} works on the batch axis, which stays free", name, within=fields)
        if not 0 < axis < rank:
            raise self.layer_error(
                f"{self.text} has no axis {given}: its input is {self.written()}", name, within=fields
            )
        return axis

    def weight(self, role: str, shape: Sequence[int], filler: Filler, *, blob: int = -1) -> ir.Value:
        """Declare the weight ``<layer>.<role>``.

        ``blob`` is its index among the layer's Caffe blobs; layers that give a blob the same ``param`` name
        share one weight.
        """
        return self.stored(role, shape, lambda name: self.site.builder.weight(name, shape, filler), blob)

    def stored(self, role: str, shape: Sequence[int], make: Callable[[str], ir.Value], blob: int) -> ir.Value:
        """Return the shared weight that the ``param`` name of ``blob`` asks for, or what ``make`` makes."""
        if math.prod(shape) > self.site.limits.tensor_elements:
            advice = how_to_raise("tensor_elements", math.prod(shape))
            raise self.layer_error(f"{self.text} would have a weight of {math.prod(shape):,} numbers", advice=advice)
        shared, at = "", self.text.at
        if 0 <= blob < len(self._param_names):  # a file gives as many params as it cares to, from the first blob on
            shared, at = self._param_names[blob]
        # Either layers share the blob by name, or a layer of several bottoms has made it for an earlier one.
        known = self.site.shared.get(shared) or self._made.get(role)
        if known is None:
            self._own_name()
            value = self._made[role] = make(self.site.names.new(f"{self.text.name}.{role}"))
            if shared:
                self.site.shared[shared] = value
            return value
        # Caffe's share_mode STRICT. PERMISSIVE compares only the number of elements; a weight of a Graph has one shape.
        if known.shape != ir.Shape(shape):
            found = " x ".join(map(str, shape))
            shares = f"shares {quoted(shared)}" if shared else "has one weight for all its bottoms"
            message = f"{self.text} needs a weight {found}, but {shares}, which is {_written(known)}"
            raise LayerFaultError(message, at, "give it a param name of its own" if shared else "write two layers")
        return known

    def constant(self, role: str, content: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> ir.Value:
        """Store a static argument, or float content that is part of a formula, as ``<layer>.<role>``."""
        name = self.site.names.new(f"{self.text.name}.{role}")
        is_float = np.issubdtype(content.dtype, np.floating)
        return self.site.builder.constant(name, content) if is_float else self.site.builder.tensor(name, content)

    def number(self, role: str, value: float) -> ir.Value:
        """Store one number of a formula as ``<layer>.<role>``; it never trains."""
        return self.constant(role, np.array(value, np.float32))

    def node(
        self, op: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Attribute] | None = None
    ) -> ir.Value:
        """Add the node that gives the layer its result: it has the layer's name, its value the top's."""
        return self._add(op, inputs, attributes, self._node_name(), self._tops[0].name)

    def step(
        self,
        part: str,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Attribute] | None = None,
    ) -> ir.Value:
        """Add a node that leads to the result, named ``<layer>/<part>``."""
        name = f"{self.text.name}/{part}"
        return self._add(op, inputs, attributes, self.site.node_names.new(name), self.site.names.new(name))

    def nodes(
        self, op: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Attribute] | None = None
    ) -> list[ir.Value]:
        """Add one node that writes all tops."""
        first = self._add(op, inputs, attributes, self._node_name(), *(top.name for top in self._tops))
        producer = first.producer()
        return [first] if producer is None else list(producer.outputs)

    @property
    def top_count(self) -> int:
        """Number of tops."""
        return len(self._tops)

    def top_is_read(self, index: int) -> bool:
        """Whether any layer of the file reads this top."""
        return bool(self._tops[index].readers)

    def _own_name(self) -> None:
        """Raise if another layer of this name has weights too: weights are named after their layer."""
        first = self.site.owners.setdefault(self.text.name, self.text)
        if first is not self.text:
            message = f"two layers with weights are called {quoted(self.text.name)}; the first is at line"
            raise self.layer_error(
                f"{message} {first.at.line}", "name", "rename one: weights are named after their layer"
            )

    def _node_name(self) -> str:
        return self.site.node_names.reserved(self.text.name)

    def _add(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Attribute] | None,
        name: str,
        *outputs: str,
    ) -> ir.Value:
        source = self.site.report.place(self.text.at)
        try:
            value = self.site.builder.node(op, inputs, name=name, attributes=attributes, outputs=outputs, source=source)
        except TrunklineError as error:  # of shape inference, which knows no place in the file
            raise self.layer_error(f"{self.text}: {error.problems[0].message}") from error
        elements = math.prod(size or 1 for size in shape_of(value))  # of one image: the batch is free
        if elements > self.site.limits.tensor_elements:
            message = f"{self.text} would write a blob {shape_text(value.shape)}, too large for any device"
            raise self.layer_error(message, advice=how_to_raise("tensor_elements", elements))
        return value

    @staticmethod
    def _param_blocks(fields: Fields) -> list[Fields]:
        blocks = fields.blocks("param")
        for block in blocks:
            block.ignore("lr_mult", "decay_mult", "share_mode")  # they matter to Caffe's solver, not to a result
        return blocks


def _written(value: ir.Value) -> str:
    return " x ".join(map(str, shape_of(value)))
