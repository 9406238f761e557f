"""The prototxt reader: text → tokens → tree → layers → Graph, with a mutator that knows words and blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import trunkline.ingest.prototxt as reader
from fuzz.bytes_mutator import mutate_bytes
from fuzz.target import Target
from trunkline.graph.budget_check import check_budget
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt.layers import DROPPED, TRANSLATORS
from trunkline.limits import Limits

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"
LIMITS = Limits(tokens=20_000, tensor_elements=2**24, total_elements=2**26, nodes=2000)
"""Smaller than the defaults, so that the limits are met too."""

_WORD = re.compile(rb'"[^"\n]*"|[\w.+-]+|\S|\n')
_NAMED = re.compile(r'"([A-Za-z_][A-Za-z0-9_]{1,40})"')
_LAYER = re.compile(rb"layers? *\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}")
_BOTTOM, _TOP = re.compile(rb"bottom *: *[\"'][^\"']*[\"']"), re.compile(rb"top *: *([\"'][^\"']*[\"'])")
_NUMBERS = (
    *(
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "7",
        "8",
        "16",
        "-1",
        "-2",
        "0.5",
        "1e-5",
        "-0.0",
        "1000000",
        "1000001",
        "1e9",
        "0x10",
    ),
    *("nan", "inf", "true", "false", "MAX", "AVE", "SUM", "PROD", '""', '"x"', "[1, 2]", "{ }", "9999999999999999"),
)
_NAMES = ("data", "a", "b", "c", "d", "label")
_HEADS = (
    'input: "data" input_shape { dim: 1 dim: 4 dim: 8 dim: 8 }\n',
    'input: "data" input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 7\n',
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }\n',
)


def read(data: bytes) -> None:
    """Read a text as a file would be, to a verified Graph."""
    text = data.decode("utf-8", "surrogateescape")
    graph = reader.parse_prototxt(text, "net.prototxt", limits=LIMITS)
    check_budget(verify(graph), LIMITS, "net.prototxt")


@cache
def words() -> tuple[str, ...]:
    """Every word the reader itself knows, taken from its source, so that new fields are fuzzed at once."""
    folder = Path(reader.__file__).parent
    found = {word for path in sorted(folder.rglob("*.py")) for word in _NAMED.findall(path.read_text("utf-8"))}
    return tuple(sorted(found | set(TRANSLATORS) | set(DROPPED)))


@cache
def fields() -> tuple[str, ...]:
    """The words that look like a field's name."""
    return tuple(word for word in words() if word.islower())


@cache
def seeds() -> tuple[bytes, ...]:
    """Short files of the corpora, and small networks that hold every layer type."""
    files = [path.read_bytes() for path in sorted(CORPUS.glob("*/prototxt/*")) + sorted(CORPUS.glob("fuzz/prototxt/*"))]
    files += [path.read_bytes() for path in sorted(CORPUS.glob("prototxt/*.prototxt"))]
    rng = Random(1)
    made = [network(kind, rng).encode() for kind in TRANSLATORS for _ in range(3)]
    cut = [window for content in files if len(content) >= 1000 for window in _windows(content)]
    return (*(content for content in [*files, *cut] if len(content) < 1000), *made)


def _windows(content: bytes) -> list[bytes]:
    """Cut a large file into networks of three layers, each in a chain behind the image."""
    layers = _LAYER.findall(content)
    cut = []
    for start in range(0, len(layers), 3):
        text, last = _HEADS[0].encode(), b'"data"'
        for layer in layers[start : start + 3]:
            text += _BOTTOM.sub(b"bottom: " + last, layer) + b"\n"
            last = (_TOP.findall(layer) or [last])[0]
        cut.append(text)
    return cut


def network(kind: str, rng: Random) -> str:
    """Return a small network with a layer of type ``kind``, more often than not a meaningful one."""
    text = rng.choice(_HEADS)
    last = "data"
    if rng.random() < 0.5:
        text += f'layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" {_CONVOLUTION} }}\n'
        last = "c"
    (fewest, most), (tops, _) = TRANSLATORS[kind].bottoms, TRANSLATORS[kind].tops
    count = rng.randint(fewest, min(3, most or 3))
    bottoms = "".join(f' bottom: "{last}"' for _ in range(count))
    names = "".join(f' top: "{name}"' for name in ("a", "b", "d")[: max(tops, 2 if kind in _SPLIT else 1)])
    text += f'layer {{ name: "l" type: "{kind}"{bottoms}{names} {parameters(kind, rng)} }}\n'
    return text + 'layer { name: "r" type: "ReLU" bottom: "a" top: "r" }\n'


_SPLIT = ("Split", "Slice")
_CONVOLUTION = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"
_PARAMETERS = {
    **dict.fromkeys(("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution"), _CONVOLUTION),
    "Deconvolution": "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 }",
    "InnerProduct": 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }',
    "Pooling": "pooling_param { pool: AVE kernel_size: 3 stride: 2 }",
    "Slice": "slice_param { axis: 2 slice_point: 3 }",
    "Interp": "interp_param { zoom_factor: 2 }",
    "Upsample": "upsample_param { scale: 2 }",
    "Padding": "padding_param { pad_beg: 1 pad_end: 1 }",
    "HardSigmoid": "hardsigmoid_param { alpha: 0.2 beta: 0.5 }",
    "Normalize": "norm_param { across_spatial: false channel_shared: false }",
    "Unpooling": "unpool_size: 8 unpool_size: 8",
    "Crop": "crop_param { axis: 2 offset: 0 }",
    "Permute": "permute_param { order: 0 order: 2 order: 3 order: 1 }",
    "Reshape": "reshape_param { shape { dim: 0 dim: -1 } }",
    "Reorg": "reorg_param { stride: 2 }",
    "ShuffleChannel": "shuffle_channel_param { group: 2 }",
    "Tile": "tile_param { axis: 1 tiles: 2 }",
    "Eltwise": "eltwise_param { operation: MAX }",
    "Concat": "concat_param { axis: 1 }",
    "Reduction": "reduction_param { operation: MEAN axis: 1 }",
    "LRN": "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }",
    "Power": "power_param { power: 2 scale: 0.5 shift: 1 }",
    "Clip": "clip_param { min: 0 max: 6 }",
    "BatchNorm": "batch_norm_param { use_global_stats: true eps: 1e-4 }",
    "Scale": "scale_param { bias_term: true }",
}


def parameters(kind: str, rng: Random) -> str:
    """Return good parameters for a layer type, with a field too many now and then."""
    text = _PARAMETERS.get(kind, "")
    if text and rng.random() < 0.3:
        return f"{text[:-1]} {rng.choice(fields())}: {rng.choice(_NUMBERS)} }}"
    return text


def mutate(data: bytes, other: bytes, rng: Random) -> bytes:
    """Change words and blocks, and now and then plain bytes."""
    kind = rng.random()
    if kind < 0.12:
        return mutate_bytes(data, other, rng)
    if kind < 0.35:
        return _blocks(data, other, rng)
    tokens: list[bytes] = _WORD.findall(data) or [b"layer"]
    at = rng.randrange(len(tokens))
    if kind < 0.6:
        tokens[at] = _like(tokens[at], rng)
    elif kind < 0.75:
        tokens[at:at] = [rng.choice(fields()).encode(), b":", rng.choice(_NUMBERS).encode()]
    elif kind < 0.83:
        del tokens[at : at + rng.randrange(1, 6)]
    elif kind < 0.9:
        tokens[at:at] = tokens[at : at + rng.randrange(1, 30)]
    else:
        tokens[at] = rng.choice([b"{", b"}", b"[", b"]", b"<", b">", b",", b";", b":", b"#", b'"', b"'", b"\\"])
    return b" ".join(tokens)


def _like(token: bytes, rng: Random) -> bytes:
    """Return another token of the same sort: number for number, type or blob for string, word for word."""
    if token.startswith(b'"'):
        return b'"' + rng.choice([*_NAMES, rng.choice(words())]).encode() + b'"'
    if token[:1].isdigit() or token[:1] in b"-+.":
        return rng.choice(_NUMBERS).encode()
    return rng.choice(words()).encode() if token[:1].isalpha() else rng.choice(_NUMBERS).encode()


def _blocks(data: bytes, other: bytes, rng: Random) -> bytes:
    """Copy, move, drop or exchange whole layers."""
    mine, theirs = list(_LAYER.finditer(data)), _LAYER.findall(other)
    if not mine:
        return data + b"\n" + (rng.choice(theirs) if theirs else network(rng.choice(list(TRANSLATORS)), rng).encode())
    chosen = rng.choice(mine)
    content: bytes = rng.choice([chosen.group(), b"", *theirs, network(rng.choice(list(TRANSLATORS)), rng).encode()])
    start = chosen.start() if rng.random() < 0.5 else chosen.end()
    return data[:start] + content + b"\n" + data[chosen.end() :]


def inputs() -> Sequence[bytes]:
    """Return the seeds."""
    return seeds()


TARGET = Target("prototxt", read, inputs, mutate, "trunkline/ingest/prototxt", longest=2000)
