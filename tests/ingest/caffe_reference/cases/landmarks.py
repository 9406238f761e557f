"""Single nets by name: corners that a draw may miss, and inputs that once went wrong."""

from __future__ import annotations

from caffe_reference.cases.parts import conv, same, single
from caffe_reference.net import Layer, Net, Word


def _pool(size: int, **fields: object) -> Net:
    return single("Pooling", (2, size, size), {"pooling_param": fields})


def _silenced() -> Net:
    layers = [same("y"), same("z", kind="Sigmoid"), Layer("Silence", "silence", ["z"], [])]
    return Net((2, 3, 3), layers)


def _late_scale() -> Net:
    """A Scale that Trunkline joins to the BatchNorm before it, with another output between the two."""
    norm, between = Layer("BatchNorm", "norm", ["data"], ["a"]), same("b")
    return Net((2, 3, 3), [norm, between, Layer("Scale", "scale", ["a"], ["c"], {"scale_param": {"bias_term": True}})])


AVE, MAX = Word("AVE"), Word("MAX")

SAME: dict[str, Net] = {
    # ⌈(4 + 2 − 2) / 3⌉ + 1 = 3 windows, of which the third would begin at 6 ≥ 4 + 1.
    "a last window in the padding is dropped": _pool(4, pool=MAX, kernel_size=2, stride=3, pad=1),
    "and from an average too": _pool(4, pool=AVE, kernel_size=2, stride=3, pad=1),
    # The padding of one axis is enough for Caffe to drop windows of the other.
    "the padding of one axis clips both": _pool(5, pool=MAX, kernel_h=2, kernel_w=1, stride=3, pad_h=1, pad_w=0),
    # The last window spans 2 rows of the input and 1 of the padding; a fourth row is beyond it and does not count.
    "an average past the padding": _pool(5, pool=AVE, kernel_size=4, stride=3, pad=1),
    "an average over the edge, without padding": _pool(6, pool=AVE, kernel_size=3, stride=2),
    "a window larger than the input, but not than the padding": _pool(2, pool=AVE, kernel_size=4, stride=1, pad=1),
    "a window as large as the padded input": _pool(3, pool=MAX, kernel_size=5, stride=2, pad=1),
    "a plane of one number": _pool(1, pool=AVE, kernel_size=3, stride=2, pad=1),
    "upsampling by repetition": single("Upsample", (2, 3, 4), {"upsample_param": {"scale": 2}}),
    "a dense layer of every row": single(
        "InnerProduct", (2, 3, 4), {"inner_product_param": {"num_output": 5, "axis": -1}}
    ),
    "two inputs of one convolution": Net(
        (2, 4, 4),
        [same("b"), Layer("Convolution", "layer", ["data", "b"], ["y", "z"], conv("c", 3).fields)],
    ),
    "what Silence swallows is no output": _silenced(),
    "outputs keep the order of the file": _late_scale(),
    "a single pixel resized": single("Interp", (2, 1, 1), {"interp_param": {"height": 4, "width": 3}}),
    "resized to a single pixel": single("Interp", (2, 5, 4), {"interp_param": {"height": 1, "width": 1}}),
    "unscaled training is made up for": single("Dropout", (2, 2, 2), {"dropout_param": {"scale_train": False}}),
}

REFUSED: dict[str, Net] = {
    "more outputs than channels of ConvolutionDepthwise": single(
        "ConvolutionDepthwise", (2, 4, 4), {"convolution_param": {"num_output": 4, "kernel_size": 3, "pad": 0}}
    ),
    "a window of nothing": _pool(5, pool=MAX, kernel_size=1, stride=3),
    "the average of nothing": _pool(5, pool=AVE, kernel_size=1, stride=3),
    "a kernel larger than its input": single(
        "Convolution", (2, 3, 3), {"convolution_param": {"num_output": 2, "kernel_size": 4}}
    ),
    "a batch that moves": single("Permute", (2, 3, 4), {"permute_param": {"order": [1, 0, 2, 3]}}),
    "a sum over the batch": single("Reduction", (2, 3, 4)),
    "padding by Interp": single("Interp", (2, 3, 4), {"interp_param": {"zoom_factor": 2, "pad_beg": 1}}),
    "an even LRN window": single("LRN", (4, 2, 2), {"lrn_param": {"local_size": 4}}),
    "no axis to crop": single(
        "Crop", (2, 4, 4), {"crop_param": {"axis": 4}}, bottoms=["data", "like"], before=[conv("like", 2, (2, 2))]
    ),
}
"""What Caffe refuses, answers with rubbish, or cannot be said of one image at a time."""
