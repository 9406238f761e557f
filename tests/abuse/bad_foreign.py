"""Other programs' files under a model's name. None of them is unpacked, unpickled or run."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

MARK = "unpickled"
"""The folder that a pickle below would make, were it loaded."""


class Harmful:
    """Leaves a folder behind when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (MARK,)


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def zipped(*members: tuple[str, bytes]) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content)

    return make


def zip_bomb(path: Path) -> None:
    """256 MB of zeros in a quarter of a megabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("bomb.bin"), bytes(2**28), zipfile.ZIP_DEFLATED)


def gzip_bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes(2**27), mtime=0))


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def npy_of_objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Harmful()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())


def folder(*inside: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.mkdir()
        for name in inside:
            (path / name).touch()

    return make


def device(name: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(f"/dev/{name}")


def endless_links(path: Path) -> None:
    path.symlink_to(path.name)


def socket(path: Path) -> None:
    import socket as sockets

    with sockets.socket(sockets.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # a whole path may be too long for a socket


def enormous(path: Path) -> None:
    """5 GiB that take no room."""
    with path.open("wb") as file:
        file.write(b"\x08\x08")
        file.truncate(5 * 2**30)


_PAGE = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not Found</body></html>\n"
_XML = b'<?xml version="1.0"?>\n<net name="net" version="11"><layers></layers></net>\n'
_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
_TEXT = (
    b'<\n  ir_version: 8,\n  opset_import: ["" : 18]\n>\nnet (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu(x) }\n'
)
_TEXTPROTO = b'ir_version: 8\nproducer_name: "x"\ngraph { node { op_type: "Relu" input: "x" output: "y" } }\n'
_SAFE = (64).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(64) + bytes(4)

FOREIGN: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "empty": (raw(b""), ("bad.onnx: the file is empty",)),
    "zeros": (raw(bytes(100)), ("bad.onnx: is neither",)),
    "all_bytes": (raw(bytes(range(256))), ("bad.onnx: is neither",)),
    "one_byte": (raw(b"\x08"), ("bad.onnx: ",)),
    "web_page": (raw(_PAGE), ("bad.onnx: is a web page", "download")),
    "web_page_after_blanks": (raw(b"\xef\xbb\xbf\n\n  " + _PAGE), ("bad.onnx: is a web page",)),
    "xml": (raw(b"<?xml version='1.0'?><opencv_storage/>"), ("bad.onnx: is XML",)),
    "openvino": (raw(_XML), ("bad.onnx: is an OpenVINO network",)),
    "lfs_pointer": (raw(_LFS), ("bad.onnx: is a pointer of Git LFS", "git lfs pull")),
    "pickle_0": (raw(pickle.dumps(Harmful(), protocol=0)), ("bad.onnx:",)),
    "pickle_1": (raw(pickle.dumps(Harmful(), protocol=1)), ("bad.onnx:",)),
    "pickle_2": (raw(pickle.dumps(Harmful(), protocol=2)), ("bad.onnx: is a pickle", "torch.onnx.export")),
    "pickle_3": (raw(pickle.dumps(Harmful(), protocol=3)), ("bad.onnx: is a pickle",)),
    "pickle_4": (raw(pickle.dumps(Harmful(), protocol=4)), ("bad.onnx: is a pickle",)),
    "pickle_5": (raw(pickle.dumps(Harmful(), protocol=5)), ("bad.onnx: is a pickle",)),
    "torch_archive": (
        zipped(("net/data.pkl", pickle.dumps(Harmful(), protocol=2)), ("net/version", b"3\n")),
        ("bad.onnx: is a torch archive", "loading runs them", "torch.onnx.export"),
    ),
    "torchscript_archive": (
        zipped(("net/code/__torch__.py", b"class Net(Module):"), ("net/constants.pkl", pickle.dumps(Harmful()))),
        ("bad.onnx: is a TorchScript archive",),
    ),
    "keras_archive": (
        zipped(("metadata.json", b"{}"), ("config.json", b"{}"), ("model.weights.h5", b"\x89HDF")),
        ("bad.onnx: is a Keras model", "tf2onnx"),
    ),
    "numpy_archive": (zipped(("w.npy", npy())), ("bad.onnx: is a NumPy archive",)),
    "zipped_onnx": (zipped(("net.onnx", b"\x08\x08")), ("bad.onnx: is a zip archive", "unpack")),
    "empty_archive": (zipped(), ("bad.onnx: is an empty zip archive",)),
    "zip_bomb": (zip_bomb, ("bad.onnx: is a zip archive",)),
    "gzip_bomb": (gzip_bomb, ("bad.onnx: is compressed with gzip", "gunzip")),
    "bzip2": (raw(bz2.compress(b"\x08\x08")), ("bad.onnx: is compressed with bzip2",)),
    "xz": (raw(lzma.compress(b"\x08\x08")), ("bad.onnx: is compressed with xz",)),
    "zstandard": (raw(b"(\xb5/\xfd\x04\x00\x41\x00\x00"), ("bad.onnx: is compressed with Zstandard",)),
    "tar": (tar, ("bad.onnx: is a tar archive",)),
    "numpy": (raw(npy()), ("bad.onnx: is a NumPy array",)),
    "numpy_of_objects": (raw(npy_of_objects()), ("bad.onnx: is a NumPy array",)),
    "hdf5": (raw(b"\x89HDF\r\n\x1a\n" + bytes(88)), ("bad.onnx: is a Keras or HDF5 file", "tf2onnx")),
    "safetensors": (raw(_SAFE), ("bad.onnx: is a safetensors file", "--weights")),
    "engine": (raw(b"ftrt" + bytes(64)), ("bad.onnx: is a TensorRT engine", "ONNX file it was made from")),
    "engine_of_old": (raw(b"ptrt" + bytes(64)), ("bad.onnx: is a TensorRT engine",)),
    "tensorflow_lite": (raw(b"\x1c\0\0\0TFL3" + bytes(64)), ("bad.onnx: is a TensorFlow Lite model", "tf2onnx")),
    "onnxruntime_format": (raw(b"\x1c\0\0\0ORTM" + bytes(64)), ("bad.onnx: is a model in ONNX Runtime's own format",)),
    "executorch": (raw(b"\x1c\0\0\0ET12" + bytes(64)), ("bad.onnx: is an ExecuTorch program",)),
    "core_ml": (raw(b"\x08\x04\x12\x08\x0a\x06\x0a\x01x\x1a\x01y"), ("bad.onnx: is a Core ML model",)),
    "saved_model": (
        raw(b"\x08\x01\x12\x0c\x0a\x0a\x22\x05serve" + b"\x2a\x01\x32"),
        ("TensorFlow SavedModel", "tf2onnx"),
    ),
    "frozen_tensorflow": (
        raw(b"\x0a\x14\x0a\x05image\x12\x0bPlaceholder" + bytes(8)),
        ("bad.onnx: is a frozen TensorFlow graph", "tf2onnx"),
    ),
    "paddle": (
        raw(b"\x0a\x0c\x08\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + bytes(8)),
        ("PaddlePaddle", "paddle2onnx"),
    ),
    "caffemodel": (raw(b"\x0a\x03net\xa2\x06\x08\x0a\x01c\x12\x03ABC"), ("bad.onnx: is a caffemodel", "--weights")),
    "gguf": (raw(b"GGUF\x03\0\0\0" + bytes(16)), ("bad.onnx: is a GGUF file",)),
    "rknn": (raw(b"RKNN\0\0\0\0" + bytes(16)), ("bad.onnx: is an RKNN model",)),
    "ncnn": (raw(b"7767517\n2 2\nInput data 0 1 data\n"), ("bad.onnx: is an ncnn network",)),
    "darknet": (
        raw(b"[net]\nbatch=1\nwidth=416\n[convolutional]\nfilters=32\n"),
        ("bad.onnx: is a Darknet configuration",),
    ),
    "picture": (raw(b"\x89PNG\r\n\x1a\n" + bytes(16)), ("bad.onnx: is a PNG picture",)),
    "document": (raw(b"%PDF-1.7\n"), ("bad.onnx: is a PDF document",)),
    "program": (raw(b"\x7fELF\x02\x01\x01" + bytes(16)), ("bad.onnx: is a program",)),
    "script": (raw(b"#!/bin/sh\nmkdir unpickled\n"), ("bad.onnx: is a script", "nothing is run")),
    "json": (raw(b'{"layers": []}'), ("bad.onnx: is JSON",)),
    "onnx_text": (raw(_TEXT), ("bad.onnx: is ONNX in its text form", "parse_model")),
    "onnx_textproto": (raw(_TEXTPROTO), ("bad.onnx: is ONNX as protobuf text", "textproto")),
    "utf_16": (raw('name: "net"\n'.encode("utf-16")), ("bad.onnx: is text in UTF-16",)),
    "latin_1": (raw('name: "für"\nlayer { }\n'.encode("latin-1")), ("bad.onnx",)),
    "deep_text": (raw(b"a{" * 20_000), ("bad.onnx:1:", "nested deeper than 100")),
    "deep_lists": (raw(b"a:[" + b"{a:[" * 20_000), ("bad.onnx:1:", "nested deeper than 100")),
    "many_tokens": (raw(b"a:1 " * 400_000), ("bad.onnx:1:", "--allow tokens=")),
    "long_text": (raw(b"# " + b"x" * 2**24 + b"\n"), ("bad.onnx", "--allow text_bytes=")),
    "folder": (folder(), ("bad.onnx: is a folder",)),
    "folder_of_saved_model": (folder("saved_model.pb"), ("bad.onnx: is a folder",)),
    "missing": (lambda path: None, ("bad.onnx: no such file",)),
    "pipe": (os.mkfifo, ("bad.onnx: is a pipe or device",)),
    "socket": (socket, ("bad.onnx: is a pipe or device",)),
    "endless_zeros": (device("zero"), ("bad.onnx: is a pipe or device",)),
    "null_device": (device("null"), ("bad.onnx: is a pipe or device",)),
    "dangling_link": (lambda path: path.symlink_to("nowhere"), ("bad.onnx: no such file",)),
    "endless_links": (endless_links, ("bad.onnx: cannot be read",)),
    "enormous": (enormous, ("bad.onnx: holds 5,368,709,120 bytes", "--allow file_bytes=5368709120")),
}
