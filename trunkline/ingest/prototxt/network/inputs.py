"""The image input: legacy ``input`` fields, NetInput layers, or the first blob of a data layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from trunkline.graph.input_size import InputSize, channels_of, pixels_of
from trunkline.ingest.prototxt.network import data_layers
from trunkline.ingest.prototxt.network.net import LayerText, Net
from trunkline.ingest.prototxt.text.fields import Fields
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.ingest.prototxt.text.source import Span
from trunkline.text import quoted


@dataclass(frozen=True, slots=True)
class NetInput:
    """A declared input.

    Attributes:
        name: Name of its blob.
        at: Where in the file it is declared.
        dims: Its sizes in the file, batch first; empty where the file gives none.
        channels: Channels of an image without ``dims``, where its data layer gives them.
    """

    name: str
    at: Span
    dims: tuple[int, ...]
    channels: int | None = None


def is_source(layer: LayerText) -> bool:
    """Whether a layer brings blobs in instead of computing them."""
    return layer.type == "Input" or data_layers.is_data(layer)


def labels_of(net: Net) -> frozenset[str]:
    """Return the blobs that only training data has."""
    sources = [layer for layer in (*net.layers, *net.left_out) if data_layers.is_data(layer)]
    return frozenset(name for layer in sources for name in data_layers.labels_of(layer))


def declared_inputs(net: Net, report: FileReport) -> list[NetInput]:
    """Return all inputs that the file declares, in order.

    A file for training alone has a data layer of phase TRAIN at most; its image is the input then.
    """
    found = _legacy(net.fields, report)
    for layer in net.layers:
        if layer.type == "Input":
            found += _input_layer(layer, report)
        elif data_layers.is_data(layer):
            found += _data_layer(layer, report)
    if found:
        return found
    for layer in filter(data_layers.is_data, net.left_out):
        found = _data_layer(layer, report)
        if found:
            return found
    return []


def image_input(
    inputs: Sequence[NetInput], read: Iterable[str], net: Net, report: FileReport, size: InputSize | None
) -> NetInput | None:
    """Choose the one image input and settle its shape.

    Args:
        inputs: All declared inputs.
        read: BlobNames of the blobs that the kept layers read.
        net: The file; its place carries the error when there is no input at all.
        report: Where problems go.
        size: The image size to use instead of the file's; channels have to agree, if the file names them.

    Returns:
        The input with ``dims`` = ``(C, H, W)``; ``None`` when a problem was reported.
    """
    wanted = set(read)
    used = [item for item in inputs if item.name in wanted] or list(inputs)
    for item in inputs:
        if item not in used:
            report.note(f"input {quoted(item.name)} is read by nothing that is deployed, and was dropped")
    if not used:
        if not net.fields.has("input"):  # otherwise _legacy has reported what is wrong with it
            advice = 'add input: "data" input_shape { dim: 1 dim: 3 dim: 224 dim: 224 }'
            report.error("the file declares no input", net.fields.at, advice)
        return None
    if len(used) > 1:
        names = ", ".join(quoted(item.name) for item in used)
        advice = "give it one image; --features cuts off what reads anything else"
        report.error(f"the network reads {len(used)} inputs: {names}", used[1].at, advice)
        if size is None and _lacks_size(used[0]):  # the next error, once the others are cut off: reported now
            _ask_for_size(used[0], report)
        return None
    return _sized(used[0], report, size)


def _lacks_size(item: NetInput) -> bool:
    """Whether the file leaves height or width to whoever runs it: no dims, or 0 and -1 in their place."""
    return not item.dims or (len(item.dims) == 4 and min(item.dims[2:]) < 1)


def _ask_for_size(item: NetInput, report: FileReport) -> None:
    advice = "give --input-size H,W or C,H,W, or add input_shape { dim: 1 dim: 3 dim: 224 dim: 224 }"
    report.error(f"the file does not say how large input {quoted(item.name)} is", item.at, advice)


def _sized(item: NetInput, report: FileReport, size: InputSize | None) -> NetInput | None:
    """Settle the sizes of the image: the caller's height and width before the file's, but the file's channels."""
    dims, pixels, given = item.dims, pixels_of(size), channels_of(size)
    known = _known_channels(item)
    # The first convolution's weights are made for the file's channels, so these cannot be overruled.
    if None not in (known, given) and known != given:
        report.error(
            f"the channels of input {quoted(item.name)} are {known}, not {given}", item.at, "give --input-size H,W"
        )
        return None
    if known == 0:
        report.error(f"input {quoted(item.name)} has no channels", item.at, "sizes count from 1")
        return None
    if pixels is None and _lacks_size(item):
        _ask_for_size(item, report)
        return None
    if len(dims) not in (0, 4):
        found = " x ".join(map(str, dims))
        report.error(f"input {quoted(item.name)} must be N x C x H x W, found {found}", item.at)
        return None
    height, width = pixels or (dims[2], dims[3])
    channels = given if known is None else known
    if channels is None:
        channels = _three(item, report)
    return replace(item, dims=(channels, height, width))


def _known_channels(item: NetInput) -> int | None:
    """Return the channels that the file gives an input, or ``None`` where it leaves them open, as by -1."""
    if len(item.dims) != 4:
        return item.channels
    return item.dims[1] if item.dims[1] >= 0 else None


def refuse_placeholder(image: NetInput, report: FileReport) -> None:
    """Report an image of one pixel, in a file that cannot be read with it: its size was left to whoever runs it."""
    if image.dims[1:] == (1, 1):
        message = f"input {quoted(image.name)} is 1 x 1, a placeholder for the size of the image"
        report.error(message, image.at, "give --input-size H,W")


def _three(item: NetInput, report: FileReport) -> int:
    text = f"the file does not say how many channels input {quoted(item.name)} has; it has 3 here"
    report.note(f"{text}, another number with --input-size C,H,W")
    return 3


def _legacy(fields: Fields, report: FileReport) -> list[NetInput]:
    """Return the inputs that the file itself declares, as was done before Caffe had NetInput layers.

    Their sizes are in ``input_dim``, four numbers an input in one flat list, or later in ``input_shape`` blocks.
    """
    names = fields.names("input")
    flat = fields.integers("input_dim", minimum=-1)
    shapes = [data_layers.dims_of(block) for block in fields.blocks("input_shape")]
    axes = len(flat) // (len(names) or 1)
    if flat and not shapes and len(flat) % 4 and axes > 4:  # forks for video, such as C3D's, write five
        message = f"an input has {axes} axes; only images N x C x H x W are supported"
        report.error(message, fields.where("input_dim"), "3-D and video networks cannot be read")
        return []
    if flat and not shapes:
        shapes = [tuple(flat[start : start + 4]) for start in range(0, len(flat), 4)]
    if len(shapes) not in (0, len(names)):
        message = f"the file names {len(names)} inputs but gives {len(shapes)} shapes"
        report.error(message, fields.where("input_dim" if flat else "input_shape"), "give each input one shape of 4")
        return []
    shapes += [()] * (len(names) - len(shapes))
    return [NetInput(name, at, shape) for (name, at), shape in zip(names, shapes, strict=True)]


def _input_layer(layer: LayerText, report: FileReport) -> list[NetInput]:
    shapes = [data_layers.dims_of(block) for block in layer.fields.block("input_param").blocks("shape")]
    if len(shapes) not in (0, 1, len(layer.tops)):
        message = f"{layer} has {len(layer.tops)} tops but {len(shapes)} shapes"
        report.error(message, layer.at, "give one shape for all tops, or one each")
        return []
    shapes = shapes or [()]
    if len(shapes) == 1:
        shapes *= len(layer.tops)
    layer.fields.finish()
    return [NetInput(name, at, shape) for (name, at), shape in zip(layer.tops, shapes, strict=True)]


def _data_layer(layer: LayerText, report: FileReport) -> list[NetInput]:
    """Return the image of a data layer, its first top as in Caffe, and later tops that are no labels."""
    blobs = [(name, at) for name, at in layer.tops if name not in data_layers.labels_of(layer)]
    if not blobs:
        return []
    name, at = blobs[0]
    report.note(f"{layer} was dropped; its blob {quoted(name)} is the image input")
    changes = data_layers.changes_of(layer)
    if changes:
        report.note(f"{layer} changed each image ({', '.join(changes)}); give the network images prepared so")
    image = NetInput(name, at, data_layers.shape_of_image(layer), 1 if data_layers.is_grey(layer) else None)
    return [image, *(NetInput(name, at, ()) for name, at in blobs[1:])]
