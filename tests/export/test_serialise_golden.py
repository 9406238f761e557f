"""Golden: a file that is written weight by weight holds what protobuf would have written at once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from trunkline.export import serialise
from trunkline.export.formats.onnx_model import finished, write_onnx
from trunkline.export.serialise import write_model

pytestmark = pytest.mark.golden


def written(model: ir.Model) -> bytes:
    file = io.BytesIO()
    write_model(model, file)
    return file.getvalue()


def in_order(proto: onnx.ModelProto) -> onnx.ModelProto:
    stored = sorted(proto.graph.initializer, key=lambda tensor: tensor.name)
    proto.graph.ClearField("initializer")
    proto.graph.ClearField("value_info")
    proto.graph.initializer.extend(stored)
    return proto


@pytest.mark.parametrize("least", [0, 200, 10**9])
def test_same_messages_are_written(nets: Any, monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    monkeypatch.setattr(serialise, "LARGE_WEIGHT_BYTES", least)
    model = finished(nets.columns(tied=True))
    whole = in_order(ir.to_proto(model))
    assert in_order(onnx.ModelProto.FromString(written(model))) == whole
    assert written(model) == written(model)
    assert in_order(ir.to_proto(model)) == whole, "the model is as it was"


def test_turned_weights_are_written_right(nets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight may be a view whose numbers do not lie in order."""
    monkeypatch.setattr(serialise, "LARGE_WEIGHT_BYTES", 0)
    model = finished(nets.columns(tied=True))
    stored = {}
    for name, value in model.graph.initializers.items():
        array = value.const_value.numpy()
        stored[name] = array.copy()
        value.const_value = ir.Tensor(np.asfortranarray(array), name=name)
    proto = onnx.ModelProto.FromString(written(model))
    for tensor in proto.graph.initializer:
        assert np.array_equal(onnx.numpy_helper.to_array(tensor), stored[tensor.name])


def test_large_file_is_checked_without_weights(nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialise, "LARGE_WEIGHT_BYTES", 0)
    path = write_onnx(nets.columns(tied=True), tmp_path / "m.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    assert nets.run(path.read_bytes(), nets.picture()).keys() == {"depth", "seg"}
