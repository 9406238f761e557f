"""Reading a caffemodel's bytes: golden, protobuf's runtime as the oracle, and what damaged files end in."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffemodels import blob, field, floats, net, net_parameter, parsed, v0, v1, v2, varint
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import InvalidModel
from trunkline.ingest.caffemodel import read_caffemodel, read_caffemodel_bytes
from trunkline.limits import DEFAULT_LIMITS, Limits

CUBE = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
GOLDEN = (
    "0a036e6574"  # name: "net"
    "a2061b"  # layer, 27 bytes
    "0a0163"  # name: "c"
    "1202 4970"  # type: "Ip"
    "3a12"  # blobs, 18 bytes
    "3a04 0a02 0201"  # shape { dim: 2 dim: 1 }, packed
    "2a08 0000803f 000000c0"  # data: 1 data: -2, packed
    "5801"  # a field that no schema has
)


def contents(data: bytes) -> list[tuple[str, list[np.ndarray[Any, Any]]]]:
    return [(layer.name, [item.array() for item in layer.blobs]) for layer in read_caffemodel_bytes(data).layers]


def same(found: list[Any], wanted: list[Any]) -> None:
    assert [name for name, _ in found] == [name for name, _ in wanted]
    for (_, ours), (_, theirs) in zip(found, wanted, strict=True):
        assert [a.shape for a in ours] == [a.shape for a in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert a.tobytes() == b.tobytes()


def refused(data: bytes, *fragments: str, limits: Limits = DEFAULT_LIMITS) -> None:
    with pytest.raises(InvalidModel) as caught:
        read_caffemodel_bytes(data, limits, "bad.caffemodel")
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert all(problem.place.startswith("bad.caffemodel") for problem in caught.value.problems)


@pytest.mark.golden
def test_bytes_written_by_hand() -> None:
    same(contents(bytes.fromhex(GOLDEN)), [("c", [np.array([[1], [-2]], np.float32)])])


@pytest.mark.golden
@pytest.mark.parametrize("layer", [v0, v1, v2])
@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_every_generation_and_form(layer: Any, legacy: bool, packed: bool) -> None:
    data = net(layer("a", blob(CUBE, legacy=legacy, packed=packed)), layer("relu"), layer("b", blob(CUBE), blob(CUBE)))
    found = contents(data)
    same(found, parsed(data))
    assert found[0][1][0].shape == ((1, 1, 2, 3) if legacy else (1, 2, 3))
    assert [name for name, _ in found] == ["a", "b"]


@pytest.mark.golden
def test_double_data_is_rounded_and_wins() -> None:
    """As in Caffe, where a blob has numbers of both widths."""
    values = [0.1, -1e-300, 3.0]
    data = net(v2("a", field(7, field(1, varint(3))) + floats([9, 9, 9]) + floats(values, number=8, form="<d")))
    same(contents(data), [("a", [np.array(values, np.float32)])])
    same(contents(data), parsed(data))


@pytest.mark.golden
def test_parts_of_a_blob_are_joined() -> None:
    """Protobuf lets a repeated field come in several parts, packed or not, and a message in several pieces."""
    parts = floats([0, 1]) + floats([2], packed=False) + b"\x2a\x00" + floats([3, 4, 5])
    data = net(v2("a", field(7, field(1, 2)) + parts + field(7, field(1, varint(3)))))
    same(contents(data), [("a", [np.arange(6, dtype=np.float32).reshape(2, 3)])])
    same(contents(data), parsed(data))


@pytest.mark.golden
def test_long_unpacked_runs() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    data = net(v2("a", blob(values, packed=False) + field(6, b"") + b""))
    same(contents(data), [("a", [values])])
    assert len(read_caffemodel_bytes(data).layers[0].blobs[0].runs) == 1


@pytest.mark.golden
def test_empty_shape_is_a_scalar() -> None:
    """A shape without dims is that of one number."""
    data = net(v2("a", field(7, b"") + floats([0.25])))
    same(contents(data), [("a", [np.array(0.25, np.float32)])])
    same(contents(data), parsed(data))


SIZES = st.lists(st.integers(0, 4), max_size=4)
NAMES = st.text(max_size=5)


@st.composite
def models(draw: st.DrawFn) -> Any:
    """Draw a NetParameter with layers of one generation, in protobuf's own hands."""
    message = net_parameter()(name=draw(NAMES))
    modern = draw(st.booleans())
    for index in range(draw(st.integers(1, 3))):
        layer = message.layer.add() if modern else message.layers.add()
        layer.name = f"{draw(NAMES)}{index}"
        for _ in range(draw(st.integers(0, 2))):
            shape, item = draw(SIZES), layer.blobs.add()
            if draw(st.booleans()) and len(shape) == 4:
                item.num, item.channels, item.height, item.width = shape
            else:
                item.shape.SetInParent()
                item.shape.dim.extend(shape)
            count = int(np.prod(shape))
            numbers = draw(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=count, max_size=count))
            (item.double_data if draw(st.booleans()) else item.data).extend(numbers)
    return message


@pytest.mark.properties
@settings(max_examples=100, deadline=None)
@given(models())
def test_equal_to_protobuf(message: Any) -> None:
    data = message.SerializeToString()
    wanted = parsed(data)
    if wanted:
        same(contents(data), wanted)
    else:
        refused(data, "no weights")


JUNK = st.binary(max_size=60) | st.lists(
    st.builds(lambda tag, rest: varint(tag) + rest, st.integers(0, 900), st.binary(max_size=8)), max_size=8
).map(b"".join)


def judge(data: bytes) -> None:
    """Ours gives a result or its own error; a result is what protobuf reads too."""
    try:
        found = contents(data)
    except InvalidModel as error:
        assert error.problems
        return
    same(sorted(found, key=lambda item: item[0]), sorted(parsed(data), key=lambda item: item[0]))


@pytest.mark.properties
@settings(max_examples=200, deadline=None)
@given(JUNK)
def test_any_bytes_are_refused_or_read(junk: bytes) -> None:
    judge(junk)
    judge(field(100, field(1, "a") + field(7, junk)))
    judge(field(2, field(4, "a") + field(6, junk)))


SMALL = net(v2("a", blob(CUBE), blob(CUBE, legacy=True)), v1("b", blob(CUBE, packed=False)))


@pytest.mark.abuse
def test_truncated_at_every_byte() -> None:
    for end in range(len(SMALL)):
        judge(SMALL[:end])


@pytest.mark.abuse
def test_every_bit_flipped() -> None:
    for index in range(len(SMALL)):
        for bit in range(8):
            judge(SMALL[:index] + bytes([SMALL[index] ^ 1 << bit]) + SMALL[index + 1 :])


@pytest.mark.abuse
def test_oracle_refuses_truncated_files() -> None:
    """protobuf's runtime and our reader agree on a file without its last byte."""
    with pytest.raises(DecodeError):
        parsed(SMALL[:-1])
    refused(SMALL[:-1], "claims", "are left of its message")


def shaped(*dims: int) -> bytes:
    return v2("conv", field(7, field(1, b"".join(map(varint, dims)))) + floats([1.0]))


BAD: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("no weights", "no Caffe layers")),
    "no weights": (net(v2("a"), v2("b")), ("its 2 layers hold no weights",)),
    "2^60 numbers": (shaped(2**60), ("byte", '"conv"', "1,152,921,504,606,846,976 numbers; the file holds 1")),
    "overflowing product": (shaped(2**40, 2**40), ("the file holds 1",)),
    "negative size": (shaped(-1), ("[-1]", "cannot be negative", "blob 0 of layer")),
    "negative legacy size": (v2("a", field(1, -5) + floats([1.0])), ("[-5, 0, 0, 0]", "negative")),
    "many axes": (shaped(*[1] * 17), ("more than 16 axes",)),
    "endless axes": (v2("a", field(7, field(1, b"\x01" * 10_000))), ("more than 16 axes",)),
    "too few numbers": (shaped(2, 3), ("needs 6 numbers; the file holds 1", "raw_data")),
    "no shape": (v2("a", floats([1.0])), ("without a shape",)),
    "length beyond the end": (field(100, field(1, "a") + b"\x3a\xff\xff\xff\xff\x0f"), ("claims 4,294,967,295 bytes",)),
    "huge length": (b"\xa2\x06" + b"\xff" * 9 + b"\x01", ("claims 18,446,744,073,709,551,615 bytes",)),
    "endless number": (b"\xa2\x06" + b"\xff" * 11, ("more than 10 bytes",)),
    "field 0": (b"\x02\x00", ("field number 0",)),
    "group": (b"\x0b\x0c", ("wire type 3", "no model file has")),
    "wire type 7": (b"\x0f", ("wire type 7",)),
    "name is a number": (field(100, field(1, 5)), ("field 1 is a varint; expected bytes",)),
    "layer is a number": (field(100, 5), ("field 100 is a varint",)),
    "blob is a number": (v2("a") + field(100, field(1, "b") + field(7, 5)), ('layer "b"', "field 7 is a varint")),
    "data is a number": (v2("a", field(5, 5)), ("field 5 is a varint; expected bytes with a length or 4 bytes",)),
    "data of 5 bytes": (v2("a", field(7, field(1, 1)) + field(5, b"12345")), ("5 bytes of data",)),
    "long name": (v2("a" * 2000, blob(CUBE)), ("a layer name of 2,000 bytes",)),
    "name twice": (net(v2("a", blob(CUBE)), v2("a", blob(CUBE))), ('layer "a"', "a second layer", "byte 5")),
    "all at once": (net(shaped(2), v2("d", blob(CUBE)[:-1]), shaped(-3)), ('"conv"', '"d"', "negative")),
    "escapes": (v2("\x1b[31mred", floats([1.0])), ("\\x1b[31mred",)),
}


@pytest.mark.abuse
@pytest.mark.parametrize("name", BAD)
def test_damage_is_located(name: str) -> None:
    data, fragments = BAD[name]
    refused(data, *fragments)


LIMITS: dict[str, tuple[Limits, tuple[str, ...]]] = {
    "one tensor": (Limits(tensor_elements=5), ("more than 5 numbers", "--allow tensor_elements=6")),
    "all tensors": (Limits(total_elements=17), ("more than 17 numbers", "--allow total_elements")),
    "layers": (Limits(nodes=1), ("more than 1 layers", "--allow nodes")),
    "fields": (Limits(tokens=10), ("more than 10 fields", "--allow tokens")),
    "axes": (Limits(rank=2), ("more than 2 axes",)),
    "bytes": (Limits(file_bytes=10), ("at most 10 are read",)),
}


@pytest.mark.abuse
@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    limits, fragments = LIMITS[name]
    refused(SMALL, *fragments, limits=limits)


@pytest.mark.abuse
def test_claims_allocate_nothing() -> None:
    """A bad file may claim any size; refusing all of them takes less than 2 MB."""
    tracemalloc.start()
    for data, fragments in BAD.values():
        refused(data, *fragments)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.mark.abuse
def test_tiny_parts_end_at_the_limit() -> None:
    """A blob in endlessly many parts is bounded by the number of fields."""
    tiny = (b"\x2a\x00" + floats([1.0], packed=False)) * 10_000
    refused(v2("a", tiny), "more than 5,000 fields", limits=Limits(tokens=5000))


@pytest.mark.abuse
def test_non_finite_numbers_are_refused_when_read() -> None:
    """NaN, and a float64 that float32 cannot hold; opening the file does not look at the numbers."""
    model = read_caffemodel_bytes(net(v2("conv1", blob(np.array([1, np.nan], np.float32)))), label="w.caffemodel")
    with pytest.raises(InvalidModel, match=r'w.caffemodel: blob 0 of layer "conv1".*NaN'):
        model.layers[0].blobs[0].array()
    too_large = v2("a", field(7, field(1, 1)) + floats([1e300], number=8, form="<d"))
    with pytest.raises(InvalidModel, match="infinity"):
        read_caffemodel_bytes(too_large).layers[0].blobs[0].array()


@pytest.mark.properties
def test_files_are_mapped_not_read(tmp_path: Path) -> None:
    """100 MB of weights take no memory until one is wanted, and then only that one."""
    path = tmp_path / "large.caffemodel"
    part = np.ones(1_250_000, np.float32)
    with path.open("wb") as file:
        for index in range(20):
            file.write(v2(f"c{index}", _raw(part)))
    assert path.stat().st_size > 100_000_000
    tracemalloc.start()
    model = read_caffemodel(path)
    opened = tracemalloc.get_traced_memory()[1]
    assert np.array_equal(model.layers[7].blobs[0].array(), part)
    one = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert opened < 300_000
    assert one < 2 * part.nbytes


def _raw(array: np.ndarray[Any, Any]) -> bytes:
    return field(7, field(1, varint(array.size))) + field(5, array.tobytes())


@pytest.mark.abuse
def test_missing_file_folder_or_content(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, message in (("none", "no such file"), ("empty", "empty"), (".", "folder")):
        with pytest.raises(InvalidModel, match=message):
            read_caffemodel(tmp_path / name)
