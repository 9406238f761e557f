"""Label pictures as people have them: each is read as it is meant, or refused with what the pipeline could say."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trunkline.errors import InvalidConfig
from trunkline.train.data.class_map import class_map
from trunkline.train.data.files import read_numbers, read_rgb
from trunkline.train.data.sets.folder.dataset import ImageFolder
from trunkline.train.data.sets.nyuv2.dataset import NYUv2

pytestmark = pytest.mark.golden

SIZE = (4, 8)
NUMBERS = np.arange(32, dtype=np.uint8).reshape(SIZE) % 2
"""Two classes, pixel by pixel in turn."""

Write = Callable[[Path, np.ndarray], object]


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def grey(bits: int, transparent: int | None = None) -> Write:
    """A grey PNG of 1 to 16 bits a pixel, perhaps with a transparent value; Pillow does not write all of them."""

    def write(path: Path, numbers: np.ndarray) -> None:
        rows = ["".join(f"{value:0{bits}b}" for value in row) for row in numbers]
        raw = b"".join(b"\0" + int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
        header = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 0, 0, 0, 0)
        key = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
        parts = chunk(b"IHDR", header) + key + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)

    return write


def palette(path: Path, numbers: np.ndarray) -> None:
    picture = Image.fromarray(numbers.astype(np.uint8), mode="P")
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
    picture.save(path)


def palette_with(*alphas: int) -> Write:
    """A palette PNG whose first entries have these alphas, in a tRNS chunk; further ones are opaque."""

    def write(path: Path, numbers: np.ndarray) -> None:
        picture = Image.fromarray(numbers.astype(np.uint8), mode="P")
        picture.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
        picture.save(path, transparency=bytes(alphas))

    return write


def coloured(bits: int, transparent: tuple[int, int, int]) -> Write:
    """An RGB PNG of 8 or 16 bits a channel with a transparent colour; the numbers are the reds."""

    def write(path: Path, numbers: np.ndarray) -> None:
        size = bits // 8
        pixels = np.zeros((*numbers.shape, 3), ">u2" if size == 2 else "u1")
        pixels[..., 0] = numbers.astype(int) * 256 ** (size - 1)
        raw = b"".join(b"\0" + row.tobytes() for row in pixels)
        header = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 2, 0, 0, 0)
        key = chunk(b"tRNS", struct.pack(">HHH", *transparent))
        parts = chunk(b"IHDR", header) + key + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)

    return write


def channels(*others: int) -> Write:
    """The numbers in the first channel, and constants in the others."""

    def write(path: Path, numbers: np.ndarray) -> None:
        rest = [np.full(SIZE, value, np.uint8) for value in others]
        Image.fromarray(np.stack([numbers.astype(np.uint8), *rest], -1)).save(path)

    return write


def plain(path: Path, numbers: np.ndarray) -> None:
    Image.fromarray(numbers).save(path)


def folder(root: Path, numbers: np.ndarray, write: Write = plain, **options: Any) -> ImageFolder:
    (root / "train/images").mkdir(parents=True)
    (root / "train/labels").mkdir()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(root / "train/images/a.png")
    write(root / "train/labels/a.png", numbers)
    return ImageFolder(root, options.pop("classes", ["bg", "fg"]), size=SIZE, **options)


def label(root: Path, numbers: np.ndarray, write: Write = plain, **options: Any) -> np.ndarray:
    return folder(root, numbers, write, **options).sample(0).labels["segmentation"]


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidConfig) as error:
        call()
    return str(error.value)


STORED: dict[str, tuple[Write, np.ndarray, dict[str, Any]]] = {
    "numbers": (plain, NUMBERS, {}),
    "bitmap": (plain, NUMBERS.astype(bool), {}),
    "one bit": (grey(1), NUMBERS, {}),
    "two bits": (grey(2), NUMBERS, {}),
    "four bits": (grey(4), NUMBERS, {}),
    "sixteen bits": (grey(16), NUMBERS, {}),
    "palette": (palette, NUMBERS, {}),
    "opaque alpha": (channels(255), NUMBERS, {}),
    "mask of 0 and 255": (plain, NUMBERS * 255, {"values": {"0": "bg", "255": "fg"}}),
    "bitmap with values": (plain, NUMBERS.astype(bool), {"values": {"0": "bg", "1": "fg"}}),
    "numbers beyond a byte": (grey(16), NUMBERS.astype(int) * 40_000 + 7, {"values": {"7": "bg", "40007": "fg"}}),
    "several values a class": (plain, NUMBERS + 5, {"values": {"5": "bg", "6": "fg", "7": "fg"}}),
    "colours": (channels(0, 0), NUMBERS * 200, {"values": {"#000000": "bg", "#C80000": "fg"}}),
    "colours in decimals": (channels(7, 9), NUMBERS * 200, {"values": {"0, 7, 9": "bg", "200,7,9": "fg"}}),
    "colours and alpha": (channels(0, 0, 255), NUMBERS * 200, {"values": {"#000000": "bg", "#c80000": "fg"}}),
    "colours of a palette": (palette, NUMBERS, {"values": {"#0a141e": "bg", "#c80000": "fg"}}),
    "opaque palette": (palette_with(255, 255), NUMBERS, {}),
    "opaque palette as colours": (palette_with(255), NUMBERS, {"values": {"#0a141e": "bg", "#c80000": "fg"}}),
    "transparent entry without a pixel": (palette_with(255, 255, 0), NUMBERS, {}),
    "transparent grey without a pixel": (grey(4, transparent=9), NUMBERS, {}),
    "transparent colour without a pixel": (coloured(8, (0, 0, 9)), NUMBERS, {"values": {"0,0,0": "bg", "1,0,0": "fg"}}),
    "grey as colours": (plain, NUMBERS * 255, {"values": {"#000000": "bg", "#ffffff": "fg"}}),
}


@pytest.mark.parametrize("kind", STORED)
def test_every_kind_of_picture_is_read(kind: str, tmp_path: Path) -> None:
    write, numbers, options = STORED[kind]
    assert np.array_equal(label(tmp_path, numbers, write, **options), NUMBERS)


def test_small_pixels_keep_their_numbers(tmp_path: Path) -> None:
    """Pillow spreads them over 0..255; what was stored is 0..3 and 0..15."""
    for bits in (2, 4):
        numbers = np.arange(32).reshape(SIZE) % 2**bits
        grey(bits)(tmp_path / "a.png", numbers)
        assert np.array_equal(read_numbers(tmp_path / "a.png"), numbers)


def test_255_is_ignored_or_means_something(tmp_path: Path) -> None:
    """As numbers above it do."""
    numbers = NUMBERS.copy()
    numbers[0] = 255
    numbers[1] = 9
    expected = NUMBERS.astype(np.int64)
    expected[:2] = 255
    assert np.array_equal(label(tmp_path / "a", numbers, ignore=[9]), expected)
    values = {"0": "bg", "1": "fg", "9": "ignore"}
    assert np.array_equal(label(tmp_path / "b", numbers, values=values), expected)
    expected[0] = 0
    assert np.array_equal(label(tmp_path / "c", numbers, values={**values, "255": "bg"}), expected)


def test_a_class_may_be_ignored(tmp_path: Path) -> None:
    found = label(tmp_path, NUMBERS, classes=["void", "fg", "other"], ignore=[0])
    assert np.array_equal(np.unique(found), [1, 255])


REFUSED: dict[str, tuple[Write, np.ndarray, dict[str, Any], tuple[str, ...]]] = {
    "outside the classes": (
        plain,
        NUMBERS * 7,
        {},
        ("a.png: value 7 at row 0, column 1", "a class 0..1", "(16 such pixels", 'values = { 0 = "bg", 7 = "fg" }'),
    ),
    "resized with blur": (
        plain,
        np.arange(32, dtype=np.uint8).reshape(SIZE) * 8,
        {},
        ("value 8 at row 0, column 1", 'values = { 0 = "…", 8 = "…"', ", … }"),
    ),
    "not among the values": (
        plain,
        NUMBERS * 7,
        {"values": {"0": "bg", "255": "fg"}},
        ("value 7", "one of those in `values`: 0, 255"),
    ),
    "colours without a meaning": (
        channels(0, 0),
        NUMBERS * 200,
        {},
        ("a.png: several channels, expected one channel", 'values = { "#000000" = "bg", "#c80000" = "fg" }'),
    ),
    "another colour": (
        channels(0, 1),
        NUMBERS * 200,
        {"values": {"#000001": "bg", "#c80000": "fg"}},
        ("value #c80001 at row 0, column 1", "#000001, #c80000"),
    ),
    "transparent": (channels(0, 0, 9), NUMBERS, {"values": {"#000000": "bg"}}, ("a.png", "32 pixels are transparent")),
    "half transparent": (channels(9), NUMBERS, {}, ("a.png", "32 pixels are transparent", "without alpha")),
    "transparent entry": (palette_with(255, 0), NUMBERS, {}, ("a.png", "16 pixels are transparent", "without alpha")),
    "half transparent entry": (palette_with(128), NUMBERS, {}, ("a.png", "16 pixels are transparent")),
    "half transparent colour": (palette_with(9, 9), NUMBERS, {"values": {"10,20,30": "bg"}}, ("32 pixels are",)),
    "transparent bit": (grey(1, transparent=1), NUMBERS, {}, ("a.png", "16 pixels are transparent")),
    "transparent unset bit": (grey(1, transparent=0), NUMBERS, {}, ("a.png", "16 pixels are transparent")),
    "transparent two bits": (grey(2, transparent=1), NUMBERS, {}, ("a.png", "16 pixels are transparent")),
    "transparent two bits as colours": (
        grey(2, transparent=1),
        NUMBERS,
        {"values": {"#000000": "bg", "#555555": "fg"}},
        ("a.png", "16 pixels are transparent"),
    ),
    "transparent grey": (grey(8, transparent=0), NUMBERS, {}, ("a.png", "16 pixels are transparent")),
    "transparent sixteen bits": (grey(16, transparent=1), NUMBERS, {}, ("a.png", "16 pixels are transparent")),
    "transparent key": (coloured(8, (1, 0, 0)), NUMBERS, {"values": {"#000000": "bg"}}, ("16 pixels are transparent",)),
    "transparent key of sixteen bits": (
        coloured(16, (256, 0, 0)),
        NUMBERS,
        {"values": {"#000000": "bg"}},
        ("a.png", "16 pixels are transparent"),
    ),
}


@pytest.mark.abuse
@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_meaning_is_located(kind: str, tmp_path: Path) -> None:
    """By file, row and column."""
    write, numbers, options, words = REFUSED[kind]
    data = folder(tmp_path, numbers, write, **options)
    text = refusal(lambda: data.sample(0))
    for word in words:
        assert word in text, text


MEANINGS: dict[str, tuple[Mapping[str, str], tuple[int, ...], str]] = {
    "no class": ({"0": "bg", "255": "fgg"}, (), '"255" means "fgg"\n  did you mean "fg"?'),
    "no value": ({"-1": "bg"}, (), '"-1" is no value of a pixel'),
    "too large": ({"65536": "bg"}, (), '"65536" is no value'),
    "no colour": ({"300,0,0": "bg"}, (), '"300,0,0" is no value'),
    "half a colour": ({"#fff": "bg"}, (), '"#fff" is no value'),
    "mixed": ({"0": "bg", "#ffffff": "fg"}, (), "numbers and colours are mixed"),
    "twice": ({"7": "bg", "07": "fg"}, (), "one value is written in two ways"),
    "a colour twice": ({"#010203": "bg", "1,2,3": "fg"}, (), "one value is written in two ways"),
    "ignored and not": ({"0": "bg", "255": "fg"}, (255,), '255 is also in `values`, as "fg"'),
    "nothing left": ({"0": "ignore", "1": "ignore"}, (), "values: no value means a class"),
    "all ignored": ({}, (0, 1), "ignore: no value means a class"),
    "ignored beside colours": ({"#000000": "bg"}, (255,), "numbers are ignored, but `values` holds colours"),
}


@pytest.mark.abuse
@pytest.mark.parametrize("kind", MEANINGS)
def test_bad_values_tables_are_refused(kind: str) -> None:
    """Each by its key."""
    values, ignore, words = MEANINGS[kind]
    assert words in refusal(lambda: class_map(["bg", "fg"], values, ignore))


@pytest.mark.abuse
def test_all_faults_are_told_at_once() -> None:
    """Of one table."""
    text = refusal(lambda: class_map(["bg", "bg"], {"x": "bg", "0": "sky"}, [70_000]))
    for word in ('"bg" is there twice', '"x" is no value', '"0" means "sky"', "70000, expected a value 0..65535"):
        assert word in text


def test_grey_of_sixteen_bits_is_a_picture(tmp_path: Path) -> None:
    """Pillow clips it to white; it is scaled like any other."""
    path = tmp_path / "a.png"
    values = np.linspace(0, 65_535, 32).reshape(SIZE).astype(np.int64)
    grey(16)(path, values)
    assert np.array_equal(read_rgb(path)[..., 1], np.round(values / 257))
    assert read_rgb(path).shape == (*SIZE, 3)


def test_nyuv2_says_what_it_holds(tmp_path: Path) -> None:
    """Its numbers are fixed: there is nothing that the pipeline file could say about them."""
    for kind in ("img", "seg"):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full(SIZE, 40, np.uint8)).save(tmp_path / kind / "1.png")
    text = refusal(lambda: NYUv2(tmp_path, "all", SIZE, tasks=["segmentation"], classes=13).sample(0))
    assert "value 40 at row 0, column 0, expected a class 0..39, or 255 for ignore" in text
    assert "values =" not in text
