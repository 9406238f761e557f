"""Safetensors files for the network of ``bad_files.NETWORK`` that are damaged, lie about their size, or do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bad_foreign import raw

_WEIGHT, _BIAS = np.full((4, 3, 3, 3), 0.5, np.float32), np.full(4, 0.5, np.float32)


def head(content: object, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensors(**arrays: np.ndarray[Any, Any]) -> Callable[[Path], object]:
    names = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64", np.dtype(np.int32): "I32"}
    table, data = {}, b""
    for name, array in arrays.items():
        span = [len(data), len(data) + array.nbytes]
        table[name.replace("_", ".")] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": span}
        data += array.tobytes()
    return raw(head(table, data))


def entry(shape: list[int], span: list[int], dtype: str = "F32", data: bytes = bytes(16)) -> Callable[[Path], object]:
    return raw(head({"conv.bias": {"dtype": dtype, "shape": shape, "data_offsets": span}}, data))


AT = "bad.safetensors"
SAFETENSORS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "empty": (raw(b""), (AT,)),
    "seven_bytes": (raw(b"\x08\0\0\0\0\0\0"), (AT,)),
    "header_endless": (raw((2**62).to_bytes(8, "little") + b"{}"), (AT,)),
    "header_longer_than_the_file": (raw((999).to_bytes(8, "little") + b"{}"), (AT,)),
    "header_no_json": (raw(head(b"{nonsense")), (AT,)),
    "header_a_list": (raw(head([1])), (AT,)),
    "header_deep": (raw(head(b"[" * 50_000)), (AT,)),
    "header_not_utf8": (raw(head(b'{"\xff": 1}')), (AT,)),
    "no_tensors": (raw(head({})), (AT,)),
    "offsets_beyond_the_end": (entry([4], [0, 99]), (AT,)),
    "offsets_backwards": (entry([4], [16, 0]), (AT,)),
    "offsets_negative": (entry([4], [-16, 0]), (AT,)),
    "shape_2_to_62": (entry([2**62, 2**62], [0, 16]), (AT,)),
    "shape_negative": (entry([-4], [0, 16]), (AT,)),
    "shape_of_other_length": (entry([5], [0, 16]), (AT,)),
    "type_unknown": (entry([4], [0, 16], dtype="F1"), (AT,)),
    "bytes_nobody_owns": (entry([2], [0, 8]), (AT,)),
    "cut_short": (entry([4], [0, 16], data=bytes(15)), (AT,)),
    "other_names": (tensors(w=_WEIGHT), (AT,)),
    "other_shape": (tensors(conv_weight=_WEIGHT[:2], conv_bias=_BIAS), (AT, "conv.weight")),
    "weight_missing": (tensors(conv_bias=_BIAS), (AT, "conv.weight")),
    "whole_numbers": (tensors(conv_weight=_WEIGHT.astype(np.int32), conv_bias=_BIAS), (AT, "conv.weight")),
    "not_finite": (tensors(conv_weight=_WEIGHT * np.float32("nan"), conv_bias=_BIAS), ("conv.weight", "NaN")),
}
