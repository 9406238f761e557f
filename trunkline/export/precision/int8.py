"""8-bit integers by QDQ: each tensor goes through QuantizeLinear and DequantizeLinear, with ranges from real images.

onnxruntime's own quantiser places the pairs. Weights are signed and symmetric, with a scale for each output channel;
activations are unsigned, because the quick x86 kernels multiply unsigned by signed numbers, or signed and symmetric,
which is what TensorRT takes. With signed ones biases stay in float32, since TensorRT dequantises no 32-bit integers;
onnxruntime's processor kernels multiply integers only where a bias is one, or there is none.

Ranges are found once; the same ones then serve any choice of nodes that stay in float32.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.export.parity.session import require_onnxruntime

RangeMethod = Literal["minmax", "entropy", "percentile"]
Activations = Literal["unsigned", "signed"]
Image = NDArray[np.float32]
QUANTISED = (
    *("Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "HardSigmoid"),
    *("HardSwish", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Slice"),
    *("Split", "Squeeze", "Sub", "Transpose", "Unsqueeze"),
)
"""Operators that read and write 8-bit numbers, in a fixed order; others stay as they are."""


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How ranges are found, and in what numbers activations are stored.

    Attributes:
        ranges: ``minmax``: all that was seen. ``entropy``: the range that loses least information (KL divergence).
            ``percentile``: all but the outermost.
        percentile: Of ``percentile``: how much of what was seen lies within, in percent.
        activations: ``unsigned`` for processors, ``signed`` for TensorRT, with biases in float32.
    """

    ranges: RangeMethod = "minmax"
    percentile: float = 99.99
    activations: Activations = "unsigned"


class Ranges:
    """The ranges of a model's tensors on some images, and the model they are of."""

    def __init__(self, model: Path, found: Any, settings: Int8Settings) -> None:
        self.model, self.settings = model, settings
        self._found = found

    def quantised(self, target: Path, keep: Collection[str] = ()) -> None:
        """Write the quantised model.

        Args:
            target: The file to write.
            keep: Names of nodes that stay in float32.

        Raises:
            WorkFailed: onnxruntime's quantiser cannot do it.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        signed = self.settings.activations == "signed"
        with _quiet():
            quantiser = QDQQuantizer(
                onnx.load(self.model),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8 if signed else QuantType.QUInt8,
                tensors_range=self._found,
                nodes_to_quantize=[],
                nodes_to_exclude=sorted(keep),
                op_types_to_quantize=list(QUANTISED),
                extra_options={"ActivationSymmetric": signed, "WeightSymmetric": True, "QuantizeBias": not signed},
            )
            quantiser.quantize_model()
            quantiser.model.topological_sort()
        onnx.save(quantiser.model.model, target)


def find_ranges(model: Path, images: Iterable[Image], settings: Int8Settings) -> Ranges:
    """Run a float32 model on images, and return the ranges of its tensors.

    Args:
        model: An ONNX file with BatchNormalization folded, whose one input is an image.
        images: Batches ``[N, C, H, W]``, as the model is fed; those it was trained on, without augmentation.
        settings: How ranges are found.

    Raises:
        InvalidConfig: There are no images.
        WorkFailed: onnxruntime is missing, or cannot run the model.
    """
    require_onnxruntime()
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    options: dict[str, Any] = {"symmetric": False}
    options |= {"percentile": settings.percentile} if settings.ranges == "percentile" else {}
    feeds = _Feeds(_input_of(model), images)
    if not feeds.any_left():
        raise InvalidConfig("there are no images to find ranges by", place="export.calibration_images")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        calibrator = create_calibrator(
            model,
            list(QUANTISED),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=methods[settings.ranges],
            extra_options=options,
        )
        calibrator.collect_data(feeds)
        try:
            found = calibrator.compute_data()
        except ValueError as error:
            raise WorkFailed(f"no ranges could be found: {error}", place=str(model)) from error
    return Ranges(model, found, settings)


class _Feeds:
    """Images as onnxruntime's calibrator asks for them: one after the other, and then None."""

    def __init__(self, name: str, images: Iterable[Image]) -> None:
        self._name, self._images = name, iter(images)

    def any_left(self) -> bool:
        """Whether there is an image; it is not lost by this."""
        first = next(self._images, None)
        if first is not None:
            self._images = chain([first], self._images)
        return first is not None

    def get_next(self) -> dict[str, Image] | None:
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def _input_of(model: Path) -> str:
    return str(onnx.load(model, load_external_data=False).graph.input[0].name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the quantiser tells its own users off the terminal."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
