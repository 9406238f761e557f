"""torch's own exporter, told what its defaults lose.

Dropout is written as Dropout: an exporter for inference would leave it out, and the twin would train without it.
Pooling to one pixel is written as GlobalAveragePool, not as the strided views that torch decomposes it into, and a
convolution without bias gets none. torch's optimiser is not run: it folds BatchNormalization, which must train.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from unittest import mock

import onnx_ir as ir

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.ingest.graph import OPSET

if TYPE_CHECKING:
    from torch import Tensor, nn


def export_module(module: nn.Module, example: Tensor, label: str) -> ir.Model:
    """Return ``module`` in evaluation mode as an ONNX model with a free batch; the module is left as it was.

    Raises:
        InvalidModel: torch cannot export it.
        UnsupportedOp: torch writes operators that are not ONNX's.
    """
    import torch

    was_training = {child: child.training for child in module.modules()}
    advice = "export it to an ONNX file yourself, and read that"
    try:
        with quiet_exporter(), _kept_dropout():
            program = torch.onnx.export(
                module.eval(),
                (example.to(next(module.parameters(), example).device),),
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                custom_translation_table=_translations(),
                verbose=False,
            )
    except ModuleNotFoundError as error:
        advice = "pip install onnxscript, which torch's exporter needs"
        raise InvalidModel(f"torch cannot export it: {error}", place=label, advice=advice) from error
    except Exception as error:  # the module's own code runs in there, and may raise anything
        raise InvalidModel(f"torch cannot export it: {_reason(error)}", place=label, advice=advice) from error
    finally:
        for child, training in was_training.items():
            child.training = training
    assert program is not None
    model: ir.Model = program.model
    _refuse_foreign(model, label)
    return model


def _refuse_foreign(model: ir.Model, label: str) -> None:
    foreign = sorted({f"{node.domain}::{node.op_type}" for node in model.graph if node.domain})
    if foreign:
        raise UnsupportedOp(f"operators outside of ONNX: {', '.join(foreign)}", place=label)


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what to write for the operators that torch's exporter writes less plainly."""
    import torch
    from onnxscript import opset18 as op

    def adaptive_avg_pool2d(self: Any, output_size: Sequence[int]) -> Any:
        if any(size != 1 for size in output_size):
            raise NotImplementedError(f"adaptive average pooling to {list(output_size)}: only to 1 x 1")
        return op.GlobalAveragePool(self)

    def conv2d(
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0),
        dilation: Sequence[int] = (1, 1),
        groups: int = 1,
    ) -> Any:
        geometry = _geometry(stride, padding, dilation, groups)
        return op.Conv(*_present(x, weight, bias), **geometry)

    def conv_transpose2d(
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0),
        output_padding: Sequence[int] = (0, 0),
        groups: int = 1,
        dilation: Sequence[int] = (1, 1),
    ) -> Any:
        geometry = _geometry(stride, padding, dilation, groups)
        return op.ConvTranspose(*_present(x, weight, bias), output_padding=_pair(output_padding), **geometry)

    aten = torch.ops.aten
    return {
        aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
        aten.conv2d.default: conv2d,
        aten.conv_transpose2d.input: conv_transpose2d,
    }


def _geometry(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> dict[str, Any]:
    return {"strides": _pair(stride), "pads": _pair(padding) * 2, "dilations": _pair(dilation), "group": groups}


def _present(x: Any, weight: Any, bias: Any) -> list[Any]:
    """Leave out an absent bias: torch's exporter writes zeros in its place, and they would train."""
    return [x, weight] if bias is None else [x, weight, bias]


def _pair(sizes: Sequence[int]) -> list[int]:
    return [int(size) for size in sizes] * (2 if len(sizes) == 1 else 1)


@contextlib.contextmanager
def _kept_dropout() -> Iterator[None]:
    """While exporting, write dropout as ONNX's Dropout, though the module is in evaluation mode."""
    import torch

    def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: A002
        if p == 0.0:
            return input
        ratio = torch.tensor(p)
        kept: Tensor = torch.onnx.ops.symbolic(
            "Dropout", [input, ratio], dtype=input.dtype, shape=input.shape, version=13
        )
        return kept

    with mock.patch.object(torch.nn.functional, "dropout", dropout):
        yield


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter speaks of packages it would also know, which says nothing about the user's module."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__
