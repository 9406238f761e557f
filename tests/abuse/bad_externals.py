"""ONNX files whose weights lie somewhere else: what is read must be a plain file of the model's own folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
from bad_onnx import good
from onnx import TensorProto

NBYTES = 2 * 3 * 3 * 3 * 4
SECRET = b"SECRET--" * (NBYTES // 8)
"""What lies outside: if a word of it is ever shown, something was read that must not be."""


def model(*entries: tuple[str, str]) -> onnx.ModelProto:
    """A Conv whose weight lies where ``entries`` say."""
    proto = good()
    stored = proto.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    for key, value in entries:
        stored.external_data.add(key=key, value=value)
    return proto


def surround(folder: Path) -> None:
    """Good data, bad data and ways out of ``folder``; the secrets lie beside it."""
    (folder / "sub").mkdir()
    beside = folder.parent / f"{folder.name}_secrets"
    beside.mkdir(exist_ok=True)
    for path in (folder.parent / "secret.bin", beside / "secret.bin"):
        path.write_bytes(SECRET)
    for name in ("w.bin", "sub/w.bin", "W.BIN.bak"):
        (folder / name).write_bytes(bytes(NBYTES))
    (folder / "short.bin").write_bytes(bytes(NBYTES - 1))
    (folder / "empty.bin").touch()
    (folder / "link.bin").symlink_to("w.bin")
    (folder / "out.bin").symlink_to(folder.parent / "secret.bin")
    (folder / "way").symlink_to(folder.parent, target_is_directory=True)
    (folder / "same").symlink_to("sub", target_is_directory=True)
    (folder / "zero.bin").symlink_to("/dev/zero")
    (folder / "dangling.bin").symlink_to("nowhere")
    (folder / "round.bin").symlink_to("round.bin")
    (folder / "hard.bin").unlink(missing_ok=True)
    os.link(folder.parent / "secret.bin", folder / "hard.bin")
    os.mkfifo(folder / "pipe.bin")


def at(location: str, *more: tuple[str, str]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        surround(path.parent)
        path.write_bytes(model(("location", location), *more).SerializeToString())

    return make


def entries(*given: tuple[str, str]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        surround(path.parent)
        path.write_bytes(model(*given).SerializeToString())

    return make


def attribute(path: Path) -> None:
    """A Constant whose value lies elsewhere: loaders that look at weights only miss it."""
    proto = model(("location", "w.bin"))
    stored = proto.graph.initializer.pop()
    node = proto.graph.node.add(op_type="Constant", name="constant", output=["w"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(stored)
    surround(path.parent)
    path.write_bytes(proto.SerializeToString())


W = "bad.onnx: w: "
EXTERNALS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "parent": (at("../secret.bin"), (W, '"../secret.bin"')),
    "parent_in_the_middle": (at("sub/../../secret.bin"), (W, "does not name a file")),
    "sibling_with_the_same_prefix": (at("../model_secrets/secret.bin"), (W, "does not name a file")),
    "absolute": (at("/etc/passwd"), (W, "absolute")),
    "device": (at("/dev/zero"), (W, "absolute")),
    "linked_device": (at("zero.bin"), (W, "link")),
    "backslashes": (at("..\\secret.bin"), (W, "plain name")),
    "drive": (at("C:secret.bin"), (W, "plain name")),
    "address": (at("file:///etc/passwd"), (W, "plain name")),
    "home": (at("~/secret.bin"), (W, "cannot be read")),
    "variable": (at("$HOME/secret.bin"), (W, "cannot be read")),
    "percent": (at("%2e%2e/secret.bin"), (W, "cannot be read")),
    "nul": (at("w.bin\0.txt"), (W, "plain name")),
    "empty_location": (at(""), (W, "plain name")),
    "no_location": (entries(("offset", "0")), (W, "plain name")),
    "no_entries": (entries(), (W, "plain name")),
    "folder": (at("sub"), (W, "not a regular file")),
    "folder_by_slash": (at("sub/"), (W, "does not name a file")),
    "the_folder_itself": (at("."), (W, "does not name a file")),
    "missing": (at("nothing.bin"), (W, "No such file")),
    "other_case": (at("w.BIN"), (W, "No such file")),
    "long_name": (at("a" * 5000), (W, "cannot be read")),
    "deep_name": (at("a/" * 5000 + "w.bin"), (W, "cannot be read")),
    "file_as_a_folder": (at("w.bin/w.bin"), (W, "cannot be read")),
    "link": (at("link.bin"), (W, "link", "cp -rL")),
    "link_to_a_secret": (at("out.bin"), (W, "link")),
    "dangling_link": (at("dangling.bin"), (W, "link")),
    "link_to_itself": (at("round.bin"), (W, "link")),
    "linked_parent": (at("way/secret.bin"), (W, 'link "way"')),
    "linked_parent_inside": (at("same/w.bin"), (W, 'link "same"')),
    "hard_link": (at("hard.bin"), (W, "hard link", "cp hard.bin")),
    "pipe": (at("pipe.bin"), (W, "not a regular file")),
    "the_model_itself": (at("bad.onnx"), (W, "the file has")),
    "offset_negative": (at("w.bin", ("offset", "-1")), (W, 'offset "-1"')),
    "offset_no_number": (at("w.bin", ("offset", "1e3")), (W, 'offset "1e3"')),
    "offset_huge": (at("w.bin", ("offset", "9" * 18)), (W, "the file has 216")),
    "offset_endless": (at("w.bin", ("offset", "9" * 5000)), (W, "not a whole number")),
    "offset_other_digits": (at("w.bin", ("offset", "٣")), (W, "not a whole number")),
    "beyond_the_end": (at("w.bin", ("offset", "4")), (W, "ends at byte 220")),
    "length_negative": (at("w.bin", ("length", "-216")), (W, 'length "-216"')),
    "length_zero": (at("w.bin", ("length", "0")), (W, "need 216")),
    "length_short": (at("w.bin", ("length", "212")), (W, "need 216")),
    "length_long": (at("w.bin", ("length", "220")), (W, "need 216")),
    "short_file": (at("short.bin"), (W, "the file has 215")),
    "empty_file": (at("empty.bin"), (W, "the file has 0")),
    "unknown_key": (at("w.bin", ("base", "/")), (W, '"base"')),
    "key_twice": (at("w.bin", ("location", "../secret.bin")), (W, "given twice")),
    "key_in_capitals": (entries(("LOCATION", "w.bin")), (W, '"LOCATION"')),
    "in_an_attribute": (attribute, ("bad.onnx: constant: ", "external")),
}
