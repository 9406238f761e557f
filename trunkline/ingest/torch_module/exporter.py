"""torch's own exporter, with settings for what its defaults lose.

Dropout is written as Dropout: an exporter for inference would leave it out, and the twin would train without it.
Pooling to one pixel is written as GlobalAveragePool, not as the strided views that torch decomposes it into, and a
convolution without bias gets none. torch's optimiser is not run: it folds BatchNormalization, which must train.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import onnx_ir as ir

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import OPSET
from trunkline.ingest.torch_module.translations import translations

if TYPE_CHECKING:
    from torch import Tensor, nn


def export_module(module: nn.Module, example: Tensor, label: str) -> ir.Model:
    """Return ``module`` in evaluation mode as an ONNX model with a free batch; the module is left as it was.

    Raises:
        InvalidModel: torch cannot export it.
        UnsupportedOp: torch writes operators that are not ONNX's.
    """
    import torch

    # eval() below changes every submodule, also those that the caller had set one by one.
    was_training = {child: child.training for child in module.modules()}
    advice = "export it to an ONNX file yourself, and read that"
    try:
        with quiet_exporter(), _kept_dropout():
            program = torch.onnx.export(
                module.eval(),
                (example.to(next(module.parameters(), example).device),),
                dynamo=True,
                optimize=False,  # see the module's text
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),  # the batch stays free, and only the batch
                custom_translation_table=translations(),
                verbose=False,
            )
    except Exception as error:  # the module's own code runs in there, and may raise anything
        raise InvalidModel(f"torch cannot export it: {_reason(error)}", place=label, advice=advice) from error
    finally:
        for child, training in was_training.items():
            child.training = training
    assert program is not None
    _refuse_places(program.exported_program, label)
    model: ir.Model = program.model
    _refuse_foreign(model, label)
    return model


def _refuse_places(program: Any, label: str) -> None:
    """Raise if the module uses the places of an adaptive pooling's maxima, which are not written."""
    import torch

    pools = [node for node in program.graph.nodes if node.target is torch.ops.aten.adaptive_max_pool2d.default]
    places = [part for node in pools for part in node.users if part.args[1] == 1]  # the second of its two results
    if any(part.users for part in places):
        raise UnsupportedOp("adaptive max pooling with return_indices is not supported", place=label)


def _refuse_foreign(model: ir.Model, label: str) -> None:
    foreign = sorted({f"{node.domain}::{node.op_type}" for node in model.graph if node.domain})
    if foreign:
        raise UnsupportedOp(f"operators outside of ONNX: {', '.join(foreign)}", place=label)


@contextlib.contextmanager
def _kept_dropout() -> Iterator[None]:
    """While exporting, write dropout as ONNX's Dropout, though the module is in evaluation mode."""
    import torch

    def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: A002
        if p == 0.0:  # a Dropout that drops nothing would be a node for nothing
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
    """Silence the exporter's remarks, which are about packages that are not installed, not about the module."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """Return the first line of what went wrong first: the exporter wraps that in errors of its own."""
    while error.__cause__ is not None:  # the cause is the module's own error, or torch's reason
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
