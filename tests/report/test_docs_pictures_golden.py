"""Every method that finds something has a small picture of it in its page, made by `make pictures`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ROOT
from PIL import Image

from docs_pictures import found
from docs_pictures.found import chosen, draw_found, drawn_methods, short_options, stacked
from trunkline.supermodel.methods.registry import methods

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("name", drawn_methods())
def test_page_has_its_picture(name: str) -> None:
    """If not: `python -m docs_pictures --only NAME`, and a line in the page."""
    picture = ROOT / "docs" / "img" / f"{name}.png"
    assert picture.is_file(), f"run `python -m docs_pictures --only {name}`"
    assert picture.stat().st_size < 60_000
    assert f"](img/{name}.png)" in (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_all_methods_are_drawn() -> None:
    """Whatever they are called; but what a plan file says follows from the file alone."""
    assert set(methods()) - set(drawn_methods()) == {"plan"}


def test_short_searches_learn_faster() -> None:
    """A fifth of the steps, five times the rate of the policy; methods without a search have nothing to shorten."""
    assert short_options("bmtas")["warm_up"] == 100 and short_options("bmtas")["steps"] == 400
    assert short_options("bmtas")["policy_optimiser"]["lr"] == pytest.approx(0.05)
    assert short_options("automtl")["steps"] == (100, 300)
    assert short_options("cross-stitch") == {}


def test_one_picture_of_each_kind() -> None:
    """The table of a plan that is a tree, or columns, would say the same again."""
    assert chosen(["trade_off.png", "sharing.png", "tree.png", "policy.png", "losses.png"]) == [
        "policy.png",
        "tree.png",
    ]
    assert chosen(["sharing.png", "policy.png", "correlation.png"]) == ["policy.png", "sharing.png", "correlation.png"]
    assert chosen(["sharing.png", "joins.png", "shares.png"]) == ["shares.png", "joins.png"]


def test_pictures_are_stacked(tmp_path: Path) -> None:
    """Below each other, each at its left edge."""
    paths = []
    for number, (size, colour) in enumerate((((4, 2), "red"), ((6, 3), "blue"))):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", size, colour).save(paths[-1])
    whole = np.asarray(Image.open(BytesIO(stacked(paths))).convert("RGB"))
    assert whole.shape == (5, 6, 3)
    assert (whole[:2, :4] == (255, 0, 0)).all() and (whole[:2, 4:] == 255).all() and (whole[2:] == (0, 0, 255)).all()


def test_a_method_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its search to one file of its name."""
    content: dict[str, Any] = {**found.PIPELINE, "data": {**found.PIPELINE["data"], "length": 8, "val_length": 2}}
    content["train"] = {**content["train"], "steps": 1, "eval_every": 1}
    monkeypatch.setattr(found, "PIPELINE", content)
    path = draw_found("mtan", tmp_path / "run", tmp_path)
    assert path == tmp_path / "mtan.png"
    assert path.read_bytes().startswith(b"\x89PNG")
