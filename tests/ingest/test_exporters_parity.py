"""Parity: what torch's two exporters write of a module computes, once read, what onnxruntime computes for the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch
from _pytest.mark import ParameterSet
from onnx_models import Array, assert_close, run
from torch import nn
from torch.onnx.errors import UnsupportedOperatorError
from torch_nets import NETS

from trunkline.ingest.read import read
from trunkline.ingest.torch_module.exporter import quiet_exporter
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity

TRACED = (9, 11, 13, 17)
"""Opsets that the exporter by TorchScript writes here."""
CAPTURED = (18, 20, 23)
"""Opsets that the exporter by torch.export writes here."""
IMPOSSIBLE = {
    ("unet", 9): "torch writes no ConvTranspose of that kind at opset 9",
    ("coordinates", 9): "torch writes no CumSum at opset 9",
}
QUICK = {("mobilenet-v3", 11), ("shufflenet-v2", 17), ("unet", 18)}


def cases() -> Iterator[ParameterSet]:
    """A few quick ones, and all others marked slow: each capture takes seconds."""
    for name in NETS:
        for opset in (*TRACED, *CAPTURED):
            if (name, opset) not in IMPOSSIBLE:
                marks = [] if (name, opset) in QUICK else [pytest.mark.slow]
                yield pytest.param(name, opset, marks=marks, id=f"{name}-{opset}")


def export(module: nn.Module, x: torch.Tensor, opset: int, path: Path) -> None:
    with quiet_exporter():
        if opset in TRACED:
            axes = {"x": {0: "batch"}}
            torch.onnx.export(
                module, (x,), path, dynamo=False, opset_version=opset, input_names=["x"], dynamic_axes=axes
            )
        else:
            shapes = ({0: torch.export.Dim.DYNAMIC},)
            torch.onnx.export(
                module,
                (x,),
                path,
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )


@pytest.mark.parametrize(("name", "opset"), [*cases()])
def test_an_exported_module(name: str, opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, size = NETS[name]
    module = build().eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    path = tmp_path / "net.onnx"
    try:
        export(module, torch.randn(2, 3, size, size), opset, path)
    except UnsupportedOperatorError as error:
        pytest.skip(f"torch cannot write it: {str(error).splitlines()[0]}")
    twin = Twin(read(path)).eval()
    for batch in (1, 3):
        x = torch.randn(batch, 3, size, size)
        with torch.no_grad():
            ours: dict[str, Array] = {key: value.numpy() for key, value in twin(x).items()}
        assert_close(ours, run(onnx.load(path), x.numpy()), tolerance=2e-5)
