"""Golden: the error that the README shows is the one that its file gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke

pytestmark = pytest.mark.golden

README = Path(__file__).resolve().parents[2] / "README.md"
NET = """\
name: "n"
input: "data"
input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }
layer { name: "res2b" type: "Convolution" bottom: "data" top: "res2b"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }

layer {
  name: "res3a"
  type: "ReLU"
  bottom: "res2b_relu"
  top: "res3a"
}
"""


def test_the_error_in_the_readme() -> None:
    Path("net.prototxt").write_text(NET)
    said = invoke("inspect", "net.prototxt")
    assert said.code == 2
    assert "".join(f"    {line}\n" for line in said.err.splitlines()) in README.read_text()
