"""``--allow`` raises a limit by name, reads sizes as people write them, and refuses the rest in one report."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke, refused

from trunkline.cli.options import limits_of
from trunkline.errors import InvalidConfig
from trunkline.limits import Limits

pytestmark = pytest.mark.abuse

NET = (
    'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
    'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 1 } }'
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("2e9", 2_000_000_000),
        ("1.5e3", 1500),
        ("8GiB", 8 * 2**30),
        ("8Gi", 8 * 2**30),
        ("16M", 16_000_000),
        ("0.5KiB", 512),
        ("1_000_000", 1_000_000),
        ("2,000", 2000),
        ("3 TB", 3 * 10**12),
    ],
)
def test_values_are_read_as_people_write_them(text: str, value: int) -> None:
    assert limits_of([f"macs={text}"]) == Limits(macs=value)


def test_without_the_option_the_defaults_hold() -> None:
    assert limits_of(None) == limits_of([]) == Limits()


def test_the_last_word_counts() -> None:
    """Several limits are taken together."""
    assert limits_of(["nodes=7", "rank=3", "nodes=8"]) == Limits(nodes=8, rank=3)


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1e99", "9" * 30, "0.5", "nan", "inf", "²", "8XB", "1e", "=1"])
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        limits_of([f"macs={text}"])
    assert caught.value.problems[0].place == "--allow"
    assert "--allow macs=2e9" in caught.value.problems[0].advice


def test_all_mistakes_are_said_at_once() -> None:
    """Unknown names, and numbers that are none."""
    with pytest.raises(InvalidConfig) as caught:
        limits_of(["mac=1", "nodes=x", "rank"])
    assert len(caught.value.problems) == 3
    assert 'did you mean "macs"?' in caught.value.problems[0].advice


@pytest.mark.parametrize(
    ("limit", "needed"), [("tokens", "tokens=1000"), ("macs", "macs=1000"), ("text_bytes", "1KiB")]
)
def test_lowered_limits_can_be_raised(limit: str, needed: str, tmp_path: Path) -> None:
    """The error names the limit, and what to write."""
    (tmp_path / "net.prototxt").write_text(NET)
    refused(invoke("inspect", "net.prototxt", "--allow", f"{limit}=5"), "net", f"--allow {limit}=")
    value = needed.rpartition("=")[2]
    assert invoke("inspect", "net.prototxt", "--allow", f"{limit}={value}").code == 0


def test_every_reading_command_takes_limits(tmp_path: Path) -> None:
    """Every command that reads a model."""
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "run.toml").write_text('backbone = "net.prototxt"\n[data]\nkind = "scenes"\nsize = [8, 8]\n')
    low = ("--allow", "macs=5")
    commands = [
        ("inspect", "net.prototxt"),
        ("convert", "net.prototxt", "out.onnx"),
        ("build", "net.prototxt", "out.onnx", "--tasks", "a", "--all-shared"),
        ("bench", "net.prototxt", "--runtime", "torch"),
        *((verb, "run.toml", "--out", "run") for verb in ("run", "search", "train", "export")),
    ]
    for command in commands:
        refused(invoke(*command, "--allow", "mac=5"), "--allow", 'did you mean "macs"?')
        if command[0] not in ("train", "export"):  # these two look for a plan first
            refused(invoke(*command, *low), "--allow macs=")
