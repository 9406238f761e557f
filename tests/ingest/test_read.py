"""The one door: formats told by content, and nothing unpickled."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_models import model, save, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import shape_of
from trunkline.ingest.read import read
from trunkline.limits import Limits

PROTOTXT = """
name: "small"
input: "data"
input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 16
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 }
}
"""


def onnx_bytes() -> bytes:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    return model([node], initializers=[weight("w", 2, 3, 3, 3)]).SerializeToString()


@pytest.mark.golden
@pytest.mark.parametrize("name", ["net.onnx", "net.prototxt", "net", "net.pt", "näme with spaces.bin"])
def test_onnx_is_told_by_content(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(onnx_bytes())
    assert [node.op_type for node in read(path).nodes] == ["Conv"]
    assert [node.op_type for node in read(str(path)).nodes] == ["Conv"]


@pytest.mark.golden
@pytest.mark.parametrize("name", ["net.prototxt", "net.onnx", "net.txt"])
@pytest.mark.parametrize("text", [PROTOTXT, PROTOTXT.replace("\n", "\r\n"), "# caf\xe9\n" + PROTOTXT])
def test_prototxt_is_told_by_content(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8"))
    graph = read(path, input_size=(32, 24))
    assert [node.op_type for node in graph.nodes] == ["Conv"]
    assert shape_of(graph.outputs[0]) == (None, 4, 32, 24)


@pytest.mark.golden
def test_a_bare_name_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_bytes())
    monkeypatch.chdir(tmp_path)
    assert read("net.onnx").input.name == "x"


@pytest.mark.golden
def test_a_packaged_network_goes_by_name() -> None:
    assert read("zoo:mobilenetv2", input_size=(64, 64)).nodes
    with pytest.raises(InvalidModel, match='no packaged backbone "mobilenetv9"'):
        read("zoo:mobilenetv9")


class _Harmful:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.abuse
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["net.pt", "net.onnx", "net.prototxt"])
def test_a_pickle_is_refused_and_never_loaded(name: str, protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Harmful(mark), protocol=protocol))
    with pytest.raises(InvalidModel):
        read(path)
    assert not mark.exists()


@pytest.mark.abuse
def test_a_torch_archive_is_refused_with_advice(tmp_path: Path) -> None:
    path, mark = tmp_path / "net.pt", tmp_path / "ran"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps(_Harmful(mark)))
    with pytest.raises(InvalidModel, match=r"torch\.onnx\.export"):
        read(path)
    assert not mark.exists()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


OTHERS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \n\t\n", "empty"),
    "caffemodel": (b"\n\x07AlexNet\xa2\x06\x10\n\x04data\x12\x04Data", "caffemodel.*give its prototxt"),
    "caffemodel without a name": (b"\xa2\x06\x10\n\x04data\x12\x04Data\x00\x00", "caffemodel"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}', "safetensors"),
    "numpy": (_npy(), "NumPy"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0\0", "Keras"),
    "engine": (b"ftrt\0\0\0\0", "TensorRT engine"),
    "gzip": (b"\x1f\x8b\x08\0\0", "gunzip"),
    "web page": (b"<!DOCTYPE html><html></html>", "web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "utf-16": ("name: 'x'".encode("utf-16"), "UTF-16"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0", "PNG picture"),
    "zeros": (b"\0" * 100, "neither"),
    "onnx junk": (b"\x08\x08" + bytes(range(256)), "parsed|graph"),
    "onnx cut short": (onnx_bytes()[:-30], "parsed|graph"),
    "onnx header only": (onnx_bytes()[:2], "no graph"),
    "json": (b'{"layers": []}', ""),
    "words": (b"hello world", ""),
    "python": (b"import torch\nnet = torch.nn.Linear(3, 4)\n", ""),
}


@pytest.mark.abuse
@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_refused_with_advice(name: str, tmp_path: Path) -> None:
    content, reason = OTHERS[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidModel) as caught:
        read(path)
    assert not isinstance(caught.value, UnsupportedOp)
    import re

    assert re.search(reason, str(caught.value), re.DOTALL)
    assert str(path) in str(caught.value)


@pytest.mark.abuse
@pytest.mark.timeout(10)
def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "missing.onnx", "no such file"),
        (pipe, "pipe or device"),
        (Path("/dev/zero"), "pipe or device"),
        (tmp_path / ("n" * 5000), "cannot be read"),
        (tmp_path / "nul\0byte", "not a path"),
    ):
        with pytest.raises(InvalidModel, match=reason):
            read(path)


@pytest.mark.abuse
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(tmp_path: Path) -> None:
    """A file that may not be read is named in the error."""
    path = save(model([helper.make_node("Relu", ["x"], ["y"])]), tmp_path)
    path.chmod(0)
    with pytest.raises(InvalidModel, match="Permission denied"):
        read(path)


@pytest.mark.abuse
def test_limits_reach_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes())
    with pytest.raises(InvalidModel, match="bytes; at most 10"):
        read(path, limits=Limits(file_bytes=10))


@pytest.mark.abuse
@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_a_silly_input_size_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes())
    with pytest.raises(InvalidModel, match="whole numbers of at least 1"):
        read(path, input_size=size)


@pytest.mark.properties
def test_reading_does_not_load_torch(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes())
    code = "import sys; from trunkline.ingest.read import read; read(sys.argv[1]); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
