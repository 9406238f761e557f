"""Writes a prototxt layer by layer, keeping track of the blob and channels it has come to."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.ingest.prototxt.text.source import Span
from trunkline.ingest.prototxt.text.tree import Message, Scalar, TextField
from trunkline.ingest.prototxt.text.write_tree import write

_NOWHERE = Span(0, 0)

Value = int | float | bool | str | Mapping[str, "Value"]


class Sheet:
    r"""A prototxt under construction. Every method adds layers that read ``blob`` and then set it to their own result.

    A BatchNorm is written with ``affine: true``, AutoMTL's field for a scale and a shift of its own, so that no Scale
    layer follows it.

    >>> sheet = Sheet("one_layer", image=(3, 64, 96))
    >>> sheet.activation("relu1", "ReLU")
    >>> sheet.blob, sheet.channels
    ('relu1', 3)
    >>> print("\n".join(sheet.text().splitlines()[-6:]))
    layer {
      name: "relu1"
      type: "ReLU"
      bottom: "image"
      top: "relu1"
    }
    """

    def __init__(self, name: str, image: tuple[int, int, int]) -> None:
        self.blob = "image"
        self.channels = image[0]
        self._root = Message([_field("name", name)], _NOWHERE)
        shape = Message([_field("dim", size) for size in (1, *image)], _NOWHERE)
        param = Message([TextField("shape", shape, _NOWHERE)], _NOWHERE)
        self._layer("image", "Input", (), TextField("input_param", param, _NOWHERE))

    def text(self) -> str:
        """Return the finished prototxt."""
        return write(self._root)

    def conv(self, name: str, channels: int, kernel: int, stride: int = 1, dilation: int = 1, group: int = 1) -> None:
        """Add a convolution without bias that keeps the size up to its stride, and its BatchNorm."""
        settings: dict[str, Value] = {
            "num_output": channels,
            "bias_term": False,
            "kernel_size": kernel,
            "stride": stride,
            "pad": dilation * (kernel // 2),  # so that an odd kernel keeps the size
            "dilation": dilation,
            "group": group,
            "weight_filler": {"type": "msra"},
        }
        self._layer(name, "Convolution", (self.blob,), _block("convolution_param", settings))
        norm: dict[str, Value] = {"affine": True, "momentum": 0.1, "eps": 1e-05}
        self._layer(f"{name}_bn", "BatchNorm", (self.blob,), _block("batch_norm_param", norm))
        self.channels = channels

    def activation(self, name: str, kind: str) -> None:
        """Add a function of one number."""
        self._layer(name, kind, (self.blob,))

    def max_pool(self, name: str, kernel: int, stride: int, pad: int) -> None:
        """Add a max pool that rounds down."""
        settings: dict[str, Value] = {"pool": Word("MAX"), "kernel_size": kernel, "stride": stride, "pad": pad}
        settings["round_mode"] = Word("FLOOR")
        self._layer(name, "Pooling", (self.blob,), _block("pooling_param", settings))

    def add(self, name: str, shortcut: str) -> None:
        """Add the blob ``shortcut`` to the current one."""
        self._layer(name, "Eltwise", (shortcut, self.blob), _block("eltwise_param", {"operation": Word("SUM")}))

    def _layer(self, name: str, kind: str, bottoms: tuple[str, ...], *params: TextField) -> None:
        fields = [_field("name", name), _field("type", kind), *(_field("bottom", bottom) for bottom in bottoms)]
        layer = Message([*fields, _field("top", name), *params], _NOWHERE)
        self._root.fields.append(TextField("layer", layer, _NOWHERE))
        self.blob = name


class Word(str):
    """A constant of an enum, which is written without quotes."""

    __slots__ = ()


def _block(name: str, settings: Mapping[str, Value]) -> TextField:
    return TextField(name, Message([_field(key, value) for key, value in settings.items()], _NOWHERE), _NOWHERE)


def _field(name: str, value: Value) -> TextField:
    if isinstance(value, Mapping):
        return _block(name, value)
    text = str(value).lower() if isinstance(value, bool) else str(value)  # protobuf writes true, Python True
    is_quoted = isinstance(value, str) and not isinstance(value, Word)
    return TextField(name, Scalar(text, is_quoted, _NOWHERE), _NOWHERE)
