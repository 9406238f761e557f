"""The picture of blocks and branching points: well-formed, complete and inert, whatever names a file uses."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from trunkline.cli.main import main
from trunkline.report.block_picture import block_picture
from trunkline.verbs.inspect import inspect

pytestmark = pytest.mark.golden

_SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - our own text


def texts(svg: ElementTree.Element) -> list[str]:
    return ["".join(item.itertext()) for item in svg.iter(f"{_SVG}text")]


@pytest.mark.golden
def test_every_block_is_drawn() -> None:
    """And every branching point."""
    result = inspect("zoo:deeplab_resnet34")
    svg = parsed(result.to_svg())
    assert len(list(svg.iter(f"{_SVG}circle"))) == 17 + 1
    shown = texts(svg)
    assert "deeplab_resnet34" in shown
    assert "17 blocks · 17.30 G MACs · 21.28 M parameters · image [N, 3, 224, 224]" in shown
    for index, block in enumerate(result.blocks):
        assert f"{index}  {block.name}" in shown
    assert result.summaries[0] == "Conv 7x7/2, MaxPool 3x3/2"
    assert result.summaries[1] == "2 Conv 3x3, Add"


@pytest.mark.golden
def test_depthwise_convolutions_look_apart() -> None:
    """From other convolutions."""
    assert "depthwise 3x3" in inspect("zoo:mobilenetv2").summaries[1]


@pytest.mark.abuse
@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\x1b[31mred", "a" * 10_000, "\u202eevil", "a&b\"'"])
def test_names_from_a_file_are_inert(name: str) -> None:
    """In a picture as elsewhere."""
    result = inspect("zoo:tiny")
    blocks = [replace(result.blocks[0], name=name)]
    svg = parsed(block_picture(name, blocks, [name]))
    assert not list(svg.iter(f"{_SVG}script"))
    assert all(len(text) < 10_200 for text in texts(svg))


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "net.svg"
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "zoo:tiny", "--graph", str(out)])
    assert not ended.value.code
    assert parsed(out.read_text()).tag == f"{_SVG}svg"
    assert "blocks drawn" in capsys.readouterr().err


def test_a_network_without_blocks_is_drawn_too() -> None:
    assert parsed(block_picture("empty", [], [])).tag == f"{_SVG}svg"
