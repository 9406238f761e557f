"""``trunkline costs``, and a search that pays what its table says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import invoke, pipeline, refused
from documented_json import check_keys, only_json

from trunkline.bench.unit_times import NOTHING, UnitTimes
from trunkline.verbs.costs import costs

pytestmark = pytest.mark.golden

ONE_STEP = (("steps = [2, 4]", "steps = [1, 2]"), ("steps = 4\n", "steps = 1\n"))
PAYS = ("[search]\n", '[search]\ncost_weight = 5.0\ncost = "milliseconds"\ncost_table = "costs.json"\n')


def test_a_search_pays_what_was_measured(tmp_path: Path) -> None:
    """The table lies beside the pipeline; both may move together, but the table may not change."""
    path = pipeline(tmp_path, *ONE_STEP, PAYS)
    result = only_json(invoke("costs", path, "costs.json", "--json"))
    check_keys("costs", result)
    assert result["units"].keys() == json.loads(Path("costs.json").read_text())["units"].keys()
    assert all(entry["ms"] >= 0 for entry in result["units"].values())
    assert invoke("search", path, "--out", "run", "--quiet").code == 0
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "pipeline.toml").write_text(path.read_text())
    again = ("search", moved / "pipeline.toml", "--quiet", "--out")
    refused(invoke(*again, "run"), "elsewhere/costs.json", "no such file")
    table = json.loads(Path("costs.json").read_text())
    shutil.copyfile("costs.json", moved / "costs.json")
    assert invoke(*again, "run").code == 0
    table["units"]["conv1"]["ms"] = 1.0
    (moved / "costs.json").write_text(json.dumps(table))
    refused(invoke(*again, "run"), "search.cost_table", "began with")
    table["units"]["conv2"] = table["units"].pop("conv1")
    (moved / "costs.json").write_text(json.dumps(table))
    refused(invoke(*again, "other"), "units.conv2", 'did you mean "conv1"?')
    assert not Path("other/search").exists()


def test_a_search_of_edges_pays_what_joins_take(tmp_path: Path) -> None:
    """The pipeline names the table before there is one; without the joins' times it is refused before any step."""
    search = '[search]\nmethod = "mtl-nas"\nsteps = 2\ncost_weight = 5.0\ncost = "milliseconds"\n'
    path = pipeline(tmp_path, *ONE_STEP)
    content = path.read_text()
    before, _, rest = content.partition("[search]")
    _, _, after = rest.partition("\n[")
    path.write_text(f'{before}{search}cost_table = "costs.json"\n[{after}')
    result = only_json(invoke("costs", path, "costs.json", "--json"))
    check_keys("costs", result)
    assert result["joins"] and all(join["reads"] > 1 for join in result["joins"].values())
    said = invoke("costs", path, "costs.json")
    assert "What each join takes" in said.out
    assert invoke("search", path, "--out", "run", "--quiet").code == 0
    table = json.loads(Path("costs.json").read_text())
    gone = next(iter(table["joins"]))
    del table["joins"][gone]
    Path("costs.json").write_text(json.dumps(table))
    refused(invoke("search", path, "--out", "other", "--quiet"), "costs.json: joins", f'join "{gone}" is missing')
    assert not list(Path("other").rglob("*.safetensors"))


def test_a_table_is_shown(tmp_path: Path) -> None:
    said = invoke("costs", pipeline(tmp_path), "costs.json")
    assert said.code == 0, said.err
    assert "What each unit takes on " in said.out
    assert "stage3_block2_conv2" in said.out
    assert "table   costs.json" in said.out


def test_unsteady_times_have_their_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part touches its own cell; what doing nothing takes is in all of them."""
    measured: list[UnitTimes] = []
    noisy: set[str] = set()

    def planted(*arguments: Any, **options: Any) -> UnitTimes:
        if not measured:
            measured.append(costs(*arguments, **options))
        latencies = [
            replace(each, stable=each.name not in noisy, reason="too noisy" if each.name in noisy else "")
            for each in measured[0].latencies
        ]
        return replace(measured[0], latencies=tuple(latencies))

    monkeypatch.setattr("trunkline.cli.costs_command.costs", planted)
    path = pipeline(tmp_path)
    said = invoke("costs", path, "costs.json")
    assert said.code == 0, said.err
    units = len(measured[0].table.units)
    for names, marks, of_conv1, note in (
        (set(), 0, 0, ""),
        ({"unit conv1"}, 1, 1, "? unit conv1 is unstable: too noisy"),
        (
            {NOTHING},
            2 * units,
            2,
            "? nothing is unstable, and so is every time, from which it is subtracted: too noisy",
        ),
    ):
        noisy.clear()
        noisy.update(names)
        said = invoke("costs", path, "costs.json")
        assert said.out.count(" ?") == marks
        assert (note in said.out) and ("unstable" in said.out) == bool(names)
        row = next(line for line in said.out.splitlines() if line.startswith("conv1"))
        assert row.count(" ?") == of_conv1
        content = only_json(invoke("costs", path, "costs.json", "--json"))
        assert (content["stable"], content["reasons"]) == (not names, dict.fromkeys(names, "too noisy"))


@pytest.mark.parametrize(
    ("old", "new", "fragment"),
    [
        ("[bench]\n", '[bench]\nruntime = "torch"\n', 'bench.runtime: is "torch"; units are measured with'),
        ("[bench]\n", "[bench]\nbatch = 2\n", "bench.batch: is 2; a cost table holds the time of one image"),
        (
            "[search]\n",
            '[search]\ncost = "milliseconds"\n',
            'search: `cost = "milliseconds"` needs',
        ),
    ],
)
def test_what_no_table_can_be_made_for(tmp_path: Path, old: str, new: str, fragment: str) -> None:
    refused(invoke("costs", pipeline(tmp_path, (old, new)), "costs.json"), fragment)
    assert not Path("costs.json").exists()
