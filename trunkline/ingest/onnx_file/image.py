"""Find the one image input of an ONNX file, and settle its size."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.ingest.graph import name_of
from trunkline.ingest.passes.infer_shapes import WITNESSES

_AXES = "batch, channels, height, width"


def settle_image(graph: ir.Graph, input_size: tuple[int, int] | None) -> int:
    """Give the image input sizes in numbers, and return the batch size it stands at.

    The file's own batch size is kept for now, because its Reshapes may name it; a free one is set to an unlikely
    number. Inputs that nothing reads are dropped.

    Raises:
        InvalidModel: There is no image input, more than one, or its size is not known.
    """
    used = [value for value in graph.inputs if value.uses()]
    if len(used) != 1:
        names = ", ".join(repr(name_of(value)) for value in used) or "none"
        raise InvalidModel(
            f"{len(used)} inputs that must be given ({names}); one image was expected",
            place=names if len(used) == 1 else "",
            advice="export the network with the image as its only input, and its weights inside",
        )
    image = used[0]
    graph.inputs[:] = used
    sizes = _sizes(image, input_size)
    image.shape = ir.Shape(sizes)
    return sizes[0]


def _sizes(image: ir.Value, input_size: tuple[int, int] | None) -> list[int]:
    place = name_of(image)
    if image.dtype != ir.DataType.FLOAT:
        text = f"the input is of type {image.dtype}; an image of float32 was expected"
        raise InvalidModel(text, place=place, advice="export the float32 network, without its preprocessing")
    if image.shape is None or len(image.shape) != 4:
        rank = "no shape" if image.shape is None else f"shape {image.shape}"
        raise InvalidModel(f"the input has {rank}; four axes were expected: {_AXES}", place=place)
    batch, channels, *size = (dim if isinstance(dim, int) else None for dim in image.shape)
    problems = []
    if channels is None:
        text = f"the input's number of channels is not fixed: {image.shape}"
        problems.append(Problem(text, place, "export with a fixed number of channels"))
    height, width = input_size or size
    if height is None or width is None:
        text = f"the image size is not fixed: {image.shape}"
        problems.append(Problem(text, place, "give it with --input-size H,W"))
    sizes = [WITNESSES[0] if batch is None else batch, channels or 1, height or 1, width or 1]
    if not problems and min(sizes[0], channels or 0, height or 0, width or 0) < 1:
        problems.append(Problem(f"the input has shape {sizes}; sizes of at least 1 were expected", place))
    if problems:
        raise InvalidModel(problems)
    return sizes
