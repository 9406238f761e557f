"""Parity of files out of public reports that were refused though they were right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from trunkline.verbs.convert import convert

if TYPE_CHECKING:
    from tests.export.conftest import Nets


pytestmark = pytest.mark.parity

CORPUS = Path(__file__).parents[1] / "corpus"


def outputs(nets: type[Nets], path: Path, image: np.ndarray) -> list[np.ndarray]:
    return list(nets.run(onnx.load(path), image).values())


@pytest.mark.parametrize("bias", [6, 8, 12, 18])
def test_small_probability_map_is_exported(nets: type[Nets], bias: int, tmp_path: Path) -> None:
    """A small probability map is written as it is."""
    path = CORPUS / "field" / "sigmoid_small_parity" / f"sat_sigmoid_{bias}.onnx"
    result = convert(path, tmp_path / "m.onnx", parity_inputs=32)
    assert result.export.parity.passed
    shape = [size.dim_value or 2 for size in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    for written, own in zip(outputs(nets, tmp_path / "m.onnx", image), outputs(nets, path, image), strict=True):
        np.testing.assert_array_equal(written, own)


def test_pad_before_a_pool_is_kept(tmp_path: Path) -> None:
    """onnxruntime loads no pool whose padding is as large as its window."""
    result = convert(CORPUS / "zoo" / "pad_before_pool_of_one.onnx", tmp_path / "m.onnx", parity_inputs=4)
    assert result.export.parity.passed
    assert "Pad" in [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
