"""Find the one image input of an ONNX file, or a head's feature maps, bring it to ``[N, C, H, W]``, settle its size."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.free_shapes import PROBE_BATCHES
from trunkline.graph.graph import attribute, inputs_of, name_of
from trunkline.graph.input_size import InputSize, channels_of, pixels_of
from trunkline.ingest.onnx_file.image_axes import has_channels_last
from trunkline.ingest.onnx_file.passes.channels_first import turn_image
from trunkline.ingest.onnx_file.passes.single_precision import OTHERS
from trunkline.ingest.onnx_file.proto.cut import REARRANGING
from trunkline.limits import Limits
from trunkline.text import quoted, shape_text

_SHOWN = 6
"""Inputs or values that an error names, at most."""
_AXES = "batch, channels, height, width"
_EXACT = frozenset({ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.INT16, ir.DataType.UINT16, ir.DataType.INT32})
"""Types of pixels that a file may cast to float: given as float32, the same pixels give the same result."""


def canonical_image(graph: ir.Graph, input_size: InputSize | None, limits: Limits) -> tuple[str, ...]:
    """Make the image float32 and ``[N, C, H, W]``, where the file casts it, and has its channels last.

    Inputs that nothing reads are dropped.

    Args:
        graph: Of a file; its shapes need not be known.
        input_size: What replaces the file's own size, if anything.
        limits: What the file may ask for.

    Returns:
        What was changed, for the user.

    Raises:
        InvalidModel: There is no image input, or more than one; or it is not known which axis is which.
    """
    image = only_input(graph)
    notes = []
    is_cast = _is_cast_first(image)
    if has_channels_last(graph, input_size, limits):
        turn_image(graph)
        notes.append(f"the image {quoted(name_of(image))} is taken as [N, C, H, W]; the file has its channels last")
    if image.dtype in OTHERS or (image.dtype in _EXACT and is_cast):
        notes.append(
            f"the image {quoted(name_of(image))} is taken as float32, of the same values as the file's {image.dtype}"
        )
        image.type = ir.TensorType(ir.DataType.FLOAT)
    return tuple(notes)


def only_input(graph: ir.Graph) -> ir.Value:
    """Return the image, and drop the inputs that nothing reads.

    Raises:
        InvalidModel: There is no input, or more than one. Where only one can be an image, the advice names the values
            up to which nothing else is read.
    """
    used = [value for value in graph.inputs if value.uses()]
    if len(used) == 1:
        graph.inputs[:] = used
        return used[0]
    if not used:
        advice = "an image that nothing reads gives no features: export the network again"
        raise InvalidModel("no node reads any of the inputs; one image was expected", advice=advice)
    shown = ", ".join(_described(value) for value in used[:_SHOWN])
    more = f" and {len(used) - _SHOWN} more" if len(used) > _SHOWN else ""
    text = f"{len(used)} inputs that must be given ({shown}{more}); one image was expected"
    images = [value for value in used if value.shape is not None and len(value.shape) == 4]
    advice = "export the network with the image as its only input, and its weights inside"
    # Detectors read the size of the image beside it, and vision-language models a text.
    if len(images) == 1 and (ends := _ends_of(images[0], used, graph)):
        advice = f"cut the network where it has read {quoted(name_of(images[0]))} only: --features {','.join(ends)}"
    raise InvalidModel(text, advice=advice)


def has_free_batch(graph: ir.Graph) -> bool:
    """Whether no input of ``graph`` names a number of images; Paddle's exporters write −1 for a size that is free."""
    firsts = [value.shape[0] for value in graph.inputs if value.shape is not None and len(value.shape)]
    return not any(isinstance(size, int) and size >= 0 for size in firsts)


def _number_or_none(size: int | ir.SymbolicDim) -> int | None:
    """Return a size that the file names; Paddle's exporters write −1 for one that is free."""
    return size if isinstance(size, int) and size >= 0 else None


def settle_image(graph: ir.Graph, input_size: InputSize | None) -> int:
    """Give the image input sizes in numbers, and return its batch size.

    The file's own batch size is kept for now, because its Reshapes may name it; a free one becomes the first of
    :data:`PROBE_BATCHES`, a number that no file has.

    Raises:
        InvalidModel: The input is no image of float32, or its size is not known.
    """
    image = only_input(graph)
    sizes = _image_sizes(image, input_size)
    image.shape = ir.Shape(sizes)
    return sizes[0]


def settle_maps(graph: ir.Graph, sizes: Sequence[tuple[int, int, int]]) -> int:
    """Give each input of a head the size ``[C, h, w]`` of the feature map it reads, and return the batch size.

    Raises:
        InvalidModel: The head has other inputs than ``sizes``; every one that does not fit is named.
    """
    inputs = graph.inputs
    if len(inputs) != len(sizes):
        raise InvalidModel(f"{len(inputs)} inputs; {len(sizes)} feature maps were expected")
    problems = [_map_problem(*pair) for pair in zip(inputs, sizes, strict=True)]
    if any(problems):
        raise InvalidModel([problem for problem in problems if problem is not None])
    # A head exported for one batch size names it in its Reshapes, so it must be the same at all inputs.
    firsts = [value.shape[0] for value in inputs if value.shape is not None]
    named = {int(size) for size in firsts if isinstance(size, int)}
    if len(named) > 1:
        raise InvalidModel(f"its inputs have different batch sizes: {sorted(named)}")
    batch = named.pop() if named else PROBE_BATCHES[0]
    for value, size in zip(inputs, sizes, strict=True):
        value.shape = ir.Shape([batch, *size])
    return batch


def _map_problem(value: ir.Value, size: tuple[int, int, int]) -> Problem | None:
    place, found = name_of(value), value.shape
    if value.dtype != ir.DataType.FLOAT:
        return Problem(f"the input is of type {value.dtype}; a feature map of float32 was expected", place)
    if found is None or len(found) != 4:
        return Problem(f"the input has shape {found}; four axes were expected: {_AXES}", place)
    channels = found[1]
    if isinstance(channels, int) and channels != size[0]:
        return Problem(f"it reads {channels} channels; the feature map has {size[0]}", place)
    return None


def _is_cast_first(pixels: ir.Value) -> bool:
    """Whether nothing is computed from ``pixels`` before they are cast to float, not even where they are turned."""
    return all(_is_cast_to_float(node) or _is_turned_first(node) for node in pixels.consumers())


def _is_cast_to_float(node: ir.Node) -> bool:
    return node.op_type == "Cast" and attribute(node, "to") in (ir.DataType.FLOAT, *OTHERS)


def _is_turned_first(node: ir.Node) -> bool:
    turned = node.outputs[0]
    return node.op_type == "Transpose" and not turned.is_graph_output() and _is_cast_first(turned)


def _image_sizes(image: ir.Value, input_size: InputSize | None) -> list[int]:
    """Return the sizes ``[N, C, H, W]`` to read the file for: ``input_size`` before its own.

    Raises:
        InvalidModel: The input is no image, or a size is known from neither; all of them are named.
    """
    place = name_of(image)
    if image.dtype != ir.DataType.FLOAT:
        text = f"the input is of type {image.dtype}; an image of float32 was expected"
        raise InvalidModel(text, place=place, advice="export the float32 network, without its preprocessing")
    if image.shape is None or len(image.shape) != 4:
        rank = "no shape" if image.shape is None else f"shape {shape_text(image.shape)}"
        raise InvalidModel(f"the input has {rank}; four axes were expected: {_AXES}", place=place)
    batch, channels, *size = map(_number_or_none, image.shape)
    wanted = channels_of(input_size)
    height, width = pixels_of(input_size) or size
    problems = []
    if channels is None and wanted is None:
        text = f"the input's number of channels is not fixed: {shape_text(image.shape)}"
        problems.append(Problem(text, place, "give it with --input-size C,H,W"))
    elif channels is not None and wanted is not None and channels != wanted:
        # The first convolution's weight holds the number of channels, so another cannot be had.
        text = f"the channels of the input are {channels}, not {wanted}"
        problems.append(Problem(text, place, "give --input-size H,W"))
    if height is None or width is None:
        text = f"the image size is not fixed: {shape_text(image.shape)}"
        problems.append(Problem(text, place, "give it with --input-size H,W"))
    if problems:
        raise InvalidModel(problems)
    if batch is None:
        batch = PROBE_BATCHES[0]
    sizes = [batch, channels or wanted or 0, height or 0, width or 0]
    if min(sizes) < 1:
        shown = [sizes[0], *(size or 1 for size in sizes[1:])]
        raise InvalidModel(f"the input has shape {shown}; sizes of at least 1 were expected", place=place)
    return sizes


def _described(value: ir.Value) -> str:
    name = quoted(name_of(value))
    return name if value.shape is None else f"{name} {shape_text(value.shape)}"


def _ends_of(image: ir.Value, inputs: list[ir.Value], graph: ir.Graph) -> list[str]:
    """Return the last values that are computed from the image, and from no other input."""
    others, own = set(inputs) - {image}, {image}
    ends: dict[ir.Value, None] = {}  # in order, each once
    for node in graph:
        reads = set(inputs_of(node))
        if not others.isdisjoint(reads):
            others.update(node.outputs)
            ends.update(dict.fromkeys(value for value in inputs_of(node) if value in own))
        elif not own.isdisjoint(reads) and node.op_type not in ("Shape", "Size"):  # a size is no feature
            own.update(node.outputs)
    maps = dict.fromkeys(map(_rearranged_from, ends))
    maps.pop(image, None)
    return [name_of(value) for value in maps][:_SHOWN]


def _rearranged_from(value: ir.Value) -> ir.Value:
    """Return what a value has been rearranged from."""
    node = value.producer()
    while node is not None and node.op_type in REARRANGING and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value
