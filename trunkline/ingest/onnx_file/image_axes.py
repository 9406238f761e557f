"""Find out whether a file's image has its channels last, by what its first window reads.

A convolution or pooling window goes along rows and columns, by ONNX's definition the last two axes it reads. Followed
back to the image, they show which of its axes are rows and columns; the one that is left counts channels.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel, TrunklineError
from trunkline.graph.axes.axis import CHANNEL, COLUMN, ROW, Axes, is_along, is_only
from trunkline.graph.axes.follow import FIRST, LAST, follow
from trunkline.graph.axes.windows import WINDOWS
from trunkline.graph.free_shapes import PROBE_BATCHES
from trunkline.graph.graph import IR_VERSION, attribute, inputs_of, name_of
from trunkline.graph.input_size import InputSize, pixels_of
from trunkline.graph.passes.base import run_passes
from trunkline.graph.passes.remove_dead import RemoveDead
from trunkline.ingest.onnx_file.canonical_nodes import CanonicalNodes
from trunkline.ingest.onnx_file.passes.single_precision import OTHERS
from trunkline.limits import Budget, Limits
from trunkline.text import shape_text

_CHANNELS = (1, 3, 4)
"""How many channels images come with."""
_TRIAL = (64, 96)
"""Rows and columns to try where the file names none."""


def has_channels_last(graph: ir.Graph, input_size: InputSize | None, limits: Limits) -> bool:
    """Whether the only input of ``graph`` is an image ``[N, H, W, C]``.

    Raises:
        InvalidModel: It looks like one, and nothing tells.
    """
    image = graph.inputs[0]
    if image.shape is None or len(image.shape) != 4 or _looks_channels_first(image.shape):
        return False
    window = _first_window(graph, image)
    if window is not None and window.inputs[0] is image:  # by ONNX's definition it reads [N, C, H, W]
        return False
    looks_last = [size in _CHANNELS for size in image.shape[1:]] == [False, False, True]
    if window is None and not looks_last:
        return False
    # The axes are followed for both readings of the image; the file's own nodes decide between them.
    start = _start_of(graph, window, input_size, limits)
    if start is not None and _shows(start, window is not None, LAST):
        return True
    if looks_last and (start is None or not _shows(start, window is not None, FIRST)):
        shape = shape_text(image.shape)
        text = f"the image has shape {shape}: its channels seem to be last, but no window that reads it tells"
        raise InvalidModel(text, place=name_of(image), advice="export the network for images [N, C, H, W]")
    return False


def _looks_channels_first(shape: ir.Shape) -> bool:
    return shape[1] in _CHANNELS and shape[3] not in _CHANNELS


def _first_window(graph: ir.Graph, image: ir.Value) -> ir.Node | None:
    """Return the first window over two axes that reads what is computed from the image."""
    computed = {image}
    for node in graph:
        if computed.isdisjoint(inputs_of(node)):
            continue
        if node.op_type in WINDOWS and node.inputs[0] in computed and _axes_of_window(node) == 2:
            return node
        computed.update(node.outputs)
    return None


def _axes_of_window(node: ir.Node) -> int:
    """Return how many axes a window goes along; a convolution may leave its kernel's shape to the weight."""
    kernel = attribute(node, "kernel_shape")
    if kernel:
        return len(kernel)
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    shape = None if weight is None else weight.shape
    return len(shape or ()) - 2


def _start_of(graph: ir.Graph, window: ir.Node | None, input_size: InputSize | None, limits: Limits) -> ir.Graph | None:
    """Return a copy of what is computed before ``window``, its shapes known; ``None`` where they cannot be.

    The output is what the window reads. Sizes that the file leaves open are tried as those of channels that are last.
    """
    copy = ir.Model(graph, ir_version=IR_VERSION).clone().graph
    if window is not None:
        (source,) = [node.inputs[0] for node in copy if node.name == window.name]
        copy.outputs[:] = [] if source is None else [source]
    image = copy.inputs[0]
    assert image.shape is not None
    height, width = pixels_of(input_size) or _TRIAL
    trial = (PROBE_BATCHES[0], height, width, _CHANNELS[1])
    own = [size if isinstance(size, int) and size > 0 else None for size in image.shape]
    image.shape = ir.Shape([size or instead for size, instead in zip(own, trial, strict=True)])
    if image.dtype in OTHERS:
        image.type = ir.TensorType(ir.DataType.FLOAT)
    try:
        run_passes(copy, [RemoveDead(), CanonicalNodes(graph.opset_imports[""], 1, Budget(limits), single=True)])
    except TrunklineError:
        # The file is read again in earnest, and what is wrong with it is reported then.
        return None
    return copy


def _shows(start: ir.Graph, has_window: bool, kinds: tuple[str, ...]) -> bool:
    """Whether the file treats its image as one whose axes are of these ``kinds``.

    The first window goes along rows and columns; or where there is none, the file itself puts the channels first.
    """
    known = follow(start, start.inputs[0], kinds)
    if has_window:
        return _has_rows_and_columns(known[start.outputs[0]])
    turned = [known[node.outputs[0]] for node in start if node.op_type == "Transpose"]
    return any(is_only(axes[1], CHANNEL) and _has_rows_and_columns(axes) for axes in turned if len(axes) == 4)


def _has_rows_and_columns(axes: Axes) -> bool:
    """Whether a window over the last two axes goes along the image's rows and columns, in either order."""
    last = axes[2:]
    return len(last) == 2 and all(any(is_along(axis, kind) for axis in last) for kind in (ROW, COLUMN))
