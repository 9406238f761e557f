"""Abuse: what lies in the way of a file that is written is replaced or refused, never written through."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from bad_onnx import good

from trunkline.errors import InvalidConfig, TrunklineError
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.files.staging import why_no_file
from trunkline.files.write import atomic_write
from trunkline.ingest.read import read

pytestmark = pytest.mark.abuse

KEPT = b"somebody else's"
DATA = "out.onnx.data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to write into, with something precious beside it."""
    inside = tmp_path / "model"
    inside.mkdir()
    (tmp_path / "precious").write_bytes(KEPT)
    (inside / "in.onnx").write_bytes(good().SerializeToString())
    return inside


def write(folder: Path, name: str = "out.onnx") -> Path:
    """Write a model whose weights are in a second file."""
    return write_onnx(read(folder / "in.onnx"), folder / name, external_bytes=0)


def link(path: Path, precious: Path) -> None:
    path.symlink_to(precious)


def hard_link(path: Path, precious: Path) -> None:
    os.link(precious, path)


def dangling(path: Path, precious: Path) -> None:
    path.symlink_to(precious.with_name("nowhere"))


IN_THE_WAY: dict[str, Callable[[Path, Path], None]] = {"link": link, "hard link": hard_link, "dangling link": dangling}


@pytest.mark.parametrize("name", ["out.onnx", DATA])
@pytest.mark.parametrize("way", IN_THE_WAY)
def test_a_link_is_replaced_not_followed(way: str, name: str, folder: Path) -> None:
    precious = folder.parent / "precious"
    IN_THE_WAY[way](folder / name, precious)
    write(folder)
    assert precious.read_bytes() == KEPT
    assert not precious.with_name("nowhere").exists()
    for written in ("out.onnx", DATA):
        assert not (folder / written).is_symlink()
        assert (folder / written).stat().st_nlink == 1
    assert read(folder / "out.onnx").nodes
    assert sorted(path.name for path in folder.iterdir()) == ["in.onnx", "out.onnx", DATA]


@pytest.mark.parametrize("name", ["out.onnx", DATA])
@pytest.mark.timeout(20)
def test_pipes_and_folders_are_not_awaited(name: str, folder: Path) -> None:
    """They are no files to write to."""
    (folder / name).mkdir()
    with pytest.raises(TrunklineError):
        write(folder)
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    if name == "out.onnx":
        with pytest.raises(InvalidConfig, match="pipe"):
            write(folder)
    else:
        assert write(folder).is_file()


@pytest.mark.parametrize("place", ["/dev/null", "/dev/zero", "/dev/stdout", "/dev/new", "/dev/../dev/new"])
def test_no_file_goes_where_devices_are(place: str) -> None:
    """Only the question is asked: if the answer were wrong, writing would spoil the machine."""
    assert why_no_file(Path(place)) == "is a device or pipe"


def test_links_to_devices_are_refused(folder: Path) -> None:
    """They are no places for files."""
    (folder / "out.onnx").symlink_to("/dev/null")
    with pytest.raises(InvalidConfig, match="device"):
        write(folder)
    assert (folder / "out.onnx").is_symlink()
    assert why_no_file(folder / "new.onnx") == why_no_file(folder / "in.onnx") == ""


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/b", "..", "w\x00x", "CON", "x" * 300])
def test_weight_names_name_no_files(name: str, folder: Path) -> None:
    """Whatever they say."""
    proto = good()
    proto.graph.initializer[0].name = proto.graph.node[0].input[1] = name
    (folder / "in.onnx").write_bytes(proto.SerializeToString())
    write(folder)
    written = onnx.load(folder / "out.onnx", load_external_data=False)
    for tensor in written.graph.initializer:
        places = {entry.key: entry.value for entry in tensor.external_data}
        assert places.get("location", DATA) == DATA
    assert sorted(path.name for path in folder.iterdir()) == ["in.onnx", "out.onnx", DATA]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "precious"]


def test_external_weights_are_not_written_back(folder: Path) -> None:
    """A model may be converted onto itself: its weights are mapped from the file that is replaced."""
    write(folder)
    before = read(folder / "out.onnx").initializers["w"].const_value
    assert before is not None
    content = before.numpy().copy()
    write_onnx(read(folder / "out.onnx"), folder / "out.onnx", external_bytes=0)
    after = read(folder / "out.onnx").initializers["w"].const_value
    assert after is not None
    assert (after.numpy() == content).all()


def test_temporary_links_are_not_followed(tmp_path: Path) -> None:
    """What they point at stays as it was."""
    precious = tmp_path / "precious"
    precious.write_bytes(KEPT)
    (tmp_path / f".plan.json.{os.getpid()}.tmp").symlink_to(precious)
    with pytest.raises(TrunklineError):
        atomic_write(tmp_path / "plan.json", b"{}")
    assert precious.read_bytes() == KEPT
    atomic_write(tmp_path / "plan.json", b"{}")  # the link is gone with the failed attempt
    assert (tmp_path / "plan.json").read_bytes() == b"{}"
