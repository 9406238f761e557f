"""The format of Caffe before 2014: ``layers`` blocks whose type is a constant such as ``INNER_PRODUCT``.

Source of the names: Caffe's schema, message ``V1LayerParameter``, and those of its forks.
"""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.ingest.prototxt.text.tree import Message, Scalar, TextField

V1_TYPES: Mapping[str, str] = {
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
    # of forks: DeepLab, SegNet, DeconvNet, FCN
    "CROP": "Crop",
    "DENSE_IMAGE_DATA": "DenseImageData",
    "IMAGE_SEG_DATA": "ImageSegData",
    "INTERP": "Interp",
    "MAT_READ": "MatRead",
    "MAT_WRITE": "MatWrite",
    "PADDING": "Padding",
    "PERMUTE": "Permute",
    "PRELU": "PReLU",
    "RESHAPE": "Reshape",
    "SCALE": "Scale",
    "SEG_ACCURACY": "SegAccuracy",
    "UNPOOLING": "Unpooling",
    "UPSAMPLE": "Upsample",
}


def upgraded(block: Message) -> Message:
    """Return a ``layers`` block as today's ``layer`` is written: its type renamed, its param names in blocks."""
    return Message([_upgraded(item) for item in block.fields], block.at)


def _upgraded(item: TextField) -> TextField:
    value = item.value
    if not isinstance(value, Scalar):
        return item
    if item.name == "type":  # a type that is not listed keeps its name, which the error then shows
        return TextField(item.name, Scalar(V1_TYPES.get(value.text, value.text), value.quoted, value.at), item.at)
    # In V1 the names under which layers share blobs are strings: param: "shared". Today each is in a block.
    if item.name == "param":
        return TextField(item.name, Message([TextField("name", value, value.at)], value.at), item.at)
    return item
