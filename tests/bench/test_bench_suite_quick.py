"""The benchmarks run and report in their form. Nothing here depends on how long anything takes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone

ROOT = Path(__file__).parents[2]
Quick = Callable[[Sequence[str]], dict[str, Any]]
ROW = {"name", "ours", "theirs", "unit", "ratio", "interval", "target", "met", "unstable"}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"bench_suite.{name}")


@pytest.fixture
def quick(module: Callable[[str], ModuleType], tmp_path: Path) -> Quick:
    def run(names: Sequence[str]) -> dict[str, Any]:
        file = tmp_path / "results.json"
        only = [argument for name in names for argument in ("--only", name)]
        assert module("__main__").main(["--quick", "--json", str(file), *only]) == 0
        return json.loads(file.read_text())

    return run


SLOWER = ["cli_start", "ingest_speed", "shared_latency", "naive_export", "horizontal_fusion"]


@pytest.mark.golden
@pytest.mark.parametrize(
    "names",
    [["search_reuse", "saved_memory", "int8_latency"], pytest.param(SLOWER, marks=pytest.mark.slow)],
)
def test_quick_runs_write_json_and_table(names: list[str], quick: Quick, capsys: pytest.CaptureFixture[str]) -> None:
    found = quick(names)
    printed = capsys.readouterr().out
    assert found["quick"] is True
    assert found["environment"]["cores"] >= 1
    assert list(found["benchmarks"]) == names
    for name, rows in found["benchmarks"].items():
        assert rows, name
        assert f"\n{name}: " in printed
        for row in rows:
            assert set(row) == ROW
            assert row["ours"] >= 0
            assert row["met"] is None  # a quick run judges nothing
            assert row["name"] in printed
            if row["theirs"] is not None:
                assert row["ratio"] > 0
            if row["interval"] is not None:
                assert row["interval"][0] <= row["ratio"] <= row["interval"][1]


@pytest.mark.golden
def test_every_benchmark_has_its_module(module: Callable[[str], ModuleType]) -> None:
    for name in module("__main__").BENCHMARKS:
        assert (ROOT / "bench_suite" / f"{name}.py").is_file()


@pytest.mark.parity
def test_both_mixings_give_the_same_loss(module: Callable[[str], ModuleType]) -> None:
    step = module("policy_step")
    case = step.QUICK[0]
    losses = [step.Step(case, mixing, "weights")() for mixing in ("weight", "output")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.golden
def test_turn_trains_its_group_alone(module: Callable[[str], ModuleType]) -> None:
    step = module("policy_step")
    for turn in ("weights", "policy"):
        made = step.Step(step.QUICK[0], "weight", turn)
        made()
        for group, parameters in made.model.groups().items():
            reached = any(parameter.grad is not None for parameter in parameters.values())
            assert reached == (group.partition(".")[0] == turn), group


@pytest.mark.properties
def test_peak_memory_follows_what_is_alive(module: Callable[[str], ModuleType]) -> None:
    import torch

    with module("saved_memory").Alive(set()) as alive:
        first = torch.zeros(1000)  # 4000 bytes
        second = first + 1
        del first
        third = second * 2  # never three of them at once
        del second
        third.add_(1)
    assert alive.peak == 8000


def net_of(reuse: ModuleType, graph: Graph) -> Any:
    backbone = Backbone(graph)
    table = backbone.table("operator")
    return reuse.Net(backbone, table.units, table.skips)


@pytest.mark.properties
def test_policies_are_distributions(module: Callable[[str], ModuleType]) -> None:
    reuse = module("search_reuse")
    net = net_of(reuse, module("models").backbone("zoo:tiny"))
    units = net.units
    for distribution in reuse._policies(net).values():
        assert distribution.shape == (len(units), 3)
        assert distribution.sum(axis=1) == pytest.approx(1)
        for p, skip in zip(distribution, net.skips, strict=True):
            assert skip is not None or p[reuse.SKIPPED] == 0


@pytest.mark.golden
def test_whole_policy_shares_all_or_nothing(module: Callable[[str], ModuleType]) -> None:
    import numpy as np

    reuse = module("search_reuse")
    net = net_of(reuse, module("models").backbone("zoo:tiny"))
    units = net.units
    shared = np.zeros((len(units), 4), dtype=np.int64)
    assert reuse._macs_left(net, shared, "tied") == pytest.approx(1 / 4)
    assert reuse._macs_left(net, shared + reuse.OWN, "tied") == pytest.approx(1)


@pytest.mark.golden
def test_results_tell_whether_target_is_met(module: Callable[[str], ModuleType]) -> None:
    result = module("result")
    ours, theirs = [10.0] * 11, [15.0] * 11
    met = result.speed_up("a", ours, theirs, target=result.Target(1.4))
    missed = result.over("b", ours, theirs, target=result.Target(0.6, at_most=True))
    assert (met.ratio, met.interval, met.met) == (pytest.approx(1.5), pytest.approx((1.5, 1.5)), True)
    assert (missed.ratio, missed.met) == (pytest.approx(2 / 3), False)
    text = result.table([met, missed]).splitlines()
    assert "1.500 [1.500, 1.500]  ≥ 1.4" in text[1] and text[1].endswith("  met")
    assert text[2].endswith("  MISSED")
    assert "MISSED" not in result.table([missed], judged=False)


@pytest.mark.golden
def test_target_inside_the_interval(module: Callable[[str], ModuleType]) -> None:
    """A target inside the interval is a reservation."""
    result = module("result")
    unsure = result.Result("a", 1.0, 1.6, "ms", 1.6, (1.4, 1.8), result.Target(1.5))
    assert unsure.verdict == "met, within noise"
    assert result.Result("a", 1.0, 1.6, "ms", 1.6, (1.55, 1.8), result.Target(1.5)).verdict == "met"
    assert result.Result("a", 1.0, 1.6, "ms", 1.6).verdict == ""


@pytest.mark.golden
def test_too_few_rounds_give_no_interval(module: Callable[[str], ModuleType]) -> None:
    found = module("result").speed_up("a", [10.0, 20.0], [20.0, 40.0])
    assert found.ratio == pytest.approx(2)
    assert found.interval is None


@pytest.mark.golden
def test_unsteady_side_is_marked(module: Callable[[str], ModuleType]) -> None:
    """Either side; and too few rounds tell nothing."""
    result = module("result")
    steady, noisy = [10.0] * 11, [10.0, 20.0] * 6
    for ours, theirs, side in ((noisy[:11], steady, "ours"), (steady, noisy[:11], "theirs")):
        for made in (result.speed_up, result.over):
            found = made("case", ours, theirs)
            assert found.unstable.startswith(f"{side}: too noisy") and ";" not in found.unstable
            assert found.to_json()["unstable"] == found.unstable
            row, note = result.table([found]).splitlines()[1:]
            assert row.endswith("] ?")
            assert note == f"? case is unstable: {found.unstable}"
    assert result.against("a", noisy[:11], 10.0, "ms").unstable.startswith("too noisy")
    assert "?" not in result.table([result.speed_up("case", steady, steady), result.speed_up("few", [1.0], [9.0])])


@pytest.mark.golden
@pytest.mark.slow
def test_busy_machine_is_left_quiet(quick: Quick) -> None:
    """Rows without and with neighbours; whatever was started has ended."""
    found = quick(["busy_machine"])
    rows = found["benchmarks"]["busy_machine"]
    assert [row["name"].split(", ")[-1] for row in rows] == [
        "quiet",
        "quiet",
        "a busy loop a core",
        "a busy loop a core",
    ]
    assert all(row["ours"] > 0 and row["theirs"] > 0 and row["ratio"] > 0 for row in rows)


@pytest.mark.abuse
def test_unknown_benchmark(module: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        module("__main__").main(["--only", "nothing"])
    assert stop.value.code == 2
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
