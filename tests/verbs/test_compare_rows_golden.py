"""What a comparison concludes from its runs: Δ, means, intervals, and lines through what needs no search."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trunkline.verbs.compare_rows import methods_of, rows_of
from trunkline.verbs.reference_line import Point, line_at
from trunkline.verbs.seed_statistics import mean_of

pytestmark = pytest.mark.golden

DIRECTIONS = {"depth": {"rmse": False}, "seg": {"miou": True}}


def record(name: str, seed: int, macs: int, rmse: float, miou: float, method: str = "") -> dict[str, Any]:
    """What a run writes, with the numbers that decide."""
    spent = {"seconds": 2.0 + seed, "peak_bytes": 2**20, "done": True}
    return {
        "name": name,
        "method": method or name.partition(":")[0],
        "seed": seed,
        "metrics": {"depth": {"rmse": rmse}, "seg": {"miou": miou}},
        "alike": True,
        "steps": {"search": 0, "train": 4},
        "structure": f"structure-{macs}",
        "parity": True,
        "file_bytes": 10,
        "macs": macs,
        "independent_macs": 100,
        "parameters": macs // 2,
        "independent_parameters": 50,
        "paper_parameters": macs // 4,
        "independent_paper_parameters": 25,
        "spent": {"search": spent, "train": spent},
    }


RECORDS = [
    record("single-task", 0, 100, 1.0, 0.5),
    record("single-task", 1, 100, 2.0, 0.4),
    record("multi-task", 0, 40, 1.2, 0.5),
    record("multi-task", 1, 40, 2.2, 0.4),
    record("share-until:2", 0, 60, 1.1, 0.5),
    record("share-until:2", 1, 60, 2.0, 0.4),
    record("mine", 0, 50, 1.0, 0.5, "automtl"),
    record("mine", 1, 80, 2.0, 0.44, "automtl"),
]
LATENCIES = {
    "single-task": {"latency_ms": 10.0, "interval_ms": [9.0, 11.0], "speed_up": 1.0, "stable": True},
    "structure-50": {"latency_ms": 5.0, "interval_ms": [4.0, 6.0], "speed_up": 2.0, "stable": True},
    "structure-80": {"latency_ms": 8.0, "interval_ms": [7.0, 9.0], "speed_up": 1.25, "stable": False},
}


NAMES = list(dict.fromkeys(row["name"] for row in RECORDS))


def summary() -> dict[str, Any]:
    return {found["method"]: found for found in methods_of(rows_of(RECORDS, LATENCIES, DIRECTIONS), NAMES)}


def test_delta_is_against_the_same_seed() -> None:
    """Of seed 1: depth 2.2 against 2.0 is 10 % worse, though seed 0 alone has 1.0."""
    rows = {(row["method"], row["seed"]): row for row in rows_of(RECORDS, LATENCIES, DIRECTIONS)}
    assert rows["multi-task", 1]["delta"] == pytest.approx({"depth": -10.0, "seg": 0.0, "mean": -5.0})
    assert rows["multi-task", 0]["delta"] == pytest.approx({"depth": -20.0, "seg": 0.0, "mean": -10.0})
    assert rows["single-task", 0]["delta"] == {"depth": 0.0, "seg": 0.0, "mean": 0.0}


def test_no_delta_without_single_task() -> None:
    """So a run of a comparison that was stopped is not judged against another seed's single-task models."""
    rows = rows_of(RECORDS[1:], LATENCIES, DIRECTIONS)
    assert [row["delta"] is None for row in rows if row["seed"] == 0] == [True, True, True]
    found = methods_of(rows, ["multi-task"])[0]
    assert found["delta"] is None and found["over_cuts"] is None


def test_other_steps_are_not_alike() -> None:
    """A variant that is trained for longer is marked, and so is one that went on from a search."""
    longer = {**record("multi-task", 0, 40, 1.2, 0.5), "steps": {"search": 0, "train": 8}}
    goes_on = {**record("mine", 0, 40, 1.2, 0.5), "alike": False}
    rows = rows_of([RECORDS[0], RECORDS[2], longer, goes_on], LATENCIES, DIRECTIONS)
    assert [row["alike"] for row in rows] == [True, True, False, False]


def test_a_rows_costs_and_latency() -> None:
    """The single-task row has the latency of one file a task; what was not measured has none."""
    rows = {(row["method"], row["seed"]): row for row in rows_of(RECORDS, LATENCIES, DIRECTIONS)}
    mine = rows["mine", 0]
    assert (mine["macs_share"], mine["parameters_share"], mine["paper_parameters_share"]) == (0.5, 0.5, 0.48)
    assert (mine["latency_ms"], mine["speed_up"], mine["decided_by"]) == (5.0, 2.0, "automtl")
    assert rows["single-task", 1]["latency_ms"] == 10.0
    assert rows["multi-task", 0]["latency_ms"] is None


def test_means_over_seeds() -> None:
    """The mean of both seeds, its interval, its range; unsteady where one latency is."""
    mine = summary()["mine"]
    assert mine["macs"] == mean_of([50, 80]).to_json()
    assert (
        mine["latency_ms"]["mean"] == 6.5 and mine["latency_ms"]["least"] == 5.0 and mine["latency_ms"]["most"] == 8.0
    )
    assert mine["stable"] is False and summary()["single-task"]["stable"] is True
    assert mine["metrics"]["seg"]["miou"]["mean"] == pytest.approx(0.47)
    assert mine["search_seconds"]["mean"] == 2.5


def test_over_the_cuts_at_equal_macs() -> None:
    """Seed 0 at 50: between -10 at 40 and -5 at 60. Seed 1 at 80: between 0 at 60 and 0 at 100."""
    mine = summary()["mine"]
    assert [mine["delta"]["mean"]["mean"], mine["over_cuts"]["mean"]] == pytest.approx([2.5, (7.5 + 5.0) / 2])


def test_over_the_best_cut_that_costs_no_more() -> None:
    """On average 65 is executed: the cut of 60 has -2.5, the one of 40 has -7.5."""
    over = summary()["mine"]["over_best_cut"]
    assert over["cut"] == "share-until:2"
    assert over["mean"] == pytest.approx(((0 + 5) + (5 - 0)) / 2)


def test_a_cut_is_compared_with_other_cuts() -> None:
    """Through its neighbours: -10 at 40 and 0 at 100 give -20/3 at 60, where it has -5 itself."""
    over = summary()["share-until:2"]["over_cuts"]
    assert over["mean"] == pytest.approx(((-5 + 20 / 3) + (0 + 10 / 3)) / 2)
    assert summary()["single-task"]["over_cuts"] is None  # nothing else reaches its MACs


def test_over_random_plans() -> None:
    """The mean of those that execute as much with the same seed; another random plan counts nothing."""
    draws = [record(f"like-{n}", 0, 50, error, 0.5, "random") for n, error in enumerate((1.5, 1.3))]
    other = record("random:1", 0, 50, 0.1, 0.9, "random")
    rows = rows_of([RECORDS[0], *draws, other, RECORDS[6]], LATENCIES, DIRECTIONS)
    names = ["mine", "random:1", "like-0"]
    found = {each["method"]: each for each in methods_of(rows, names, {"mine": ["like-0", "like-1"]})}
    deltas = {row["method"]: row["delta"]["mean"] for row in rows}
    expected = deltas["mine"] - (deltas["like-0"] + deltas["like-1"]) / 2
    assert expected > 5 and found["mine"]["over_random"]["mean"] == pytest.approx(expected)
    assert found["random:1"]["over_random"] is None and found["like-0"]["over_random"] is None


def test_random_plans_of_other_steps_count_not() -> None:
    """One that was trained for longer is no chance at equal cost."""
    like = record("like", 0, 50, 1.5, 0.5, "random")
    longer = {**record("like-long", 0, 50, 0.1, 0.9, "random"), "steps": {"search": 0, "train": 40}}
    rows = rows_of([RECORDS[0], like, longer, RECORDS[6]], LATENCIES, DIRECTIONS)
    over = [
        methods_of(rows, ["mine"], {"mine": names})[0]["over_random"] for names in (["like"], ["like", "like-long"])
    ]
    assert over[0] == over[1] is not None


def test_a_seed_without_its_random_plan_says_nothing() -> None:
    """The mean would be of other seeds than the rest of the row."""
    rows = rows_of([*RECORDS, record("like", 0, 50, 1.5, 0.5, "random")], LATENCIES, DIRECTIONS)
    found = {each["method"]: each for each in methods_of(rows, NAMES, {"mine": ["like"]})}
    assert found["mine"]["over_random"] is None


def test_a_cut_of_other_steps_is_no_point() -> None:
    """A fully shared model that was trained for longer is far above the line; it does not lift the line."""
    longer = {**record("longer", 0, 45, 0.5, 0.9, "multi-task"), "steps": {"search": 0, "train": 8}}
    rows = rows_of([*RECORDS[:7:2], longer], LATENCIES, DIRECTIONS)
    with_it = {each["method"]: each for each in methods_of(rows, [*NAMES, "longer"])}
    without = {each["method"]: each for each in methods_of(rows[:-1], NAMES)}
    assert with_it["mine"] == without["mine"]
    assert with_it["longer"]["over_cuts"]["mean"] > 50


def test_a_metric_without_a_value() -> None:
    """It was null in the record: its mean is not known, and Δ says that it is without it."""
    lost = record("multi-task", 0, 40, math.nan, 0.5)
    lost["metrics"]["depth"]["rmse"] = None
    row = rows_of([RECORDS[0], lost], LATENCIES, DIRECTIONS)[1]
    assert row["left_out"] == ["depth.rmse"]
    assert methods_of([row], ["multi-task"])[0]["metrics"]["depth"]["rmse"] is None


@pytest.mark.parametrize("seeds", [(0,), (1,), (0, 1)])
def test_a_task_without_any_value(seeds: tuple[int, ...]) -> None:
    """Δ of the task is not known in that seed, nor on average; all else is, whichever seed it is."""
    lost = [record("multi-task", seed, 40, math.nan if seed in seeds else 1.2, 0.5) for seed in (0, 1)]
    rows = rows_of([*RECORDS[:2], *lost], LATENCIES, DIRECTIONS)
    for row in rows[2:]:
        assert (row["delta"]["depth"] is None) is (row["seed"] in seeds)
    found = methods_of(rows, ["single-task", "multi-task"])[1]
    assert found["delta"]["depth"] is None and found["delta"]["seg"]["mean"] == pytest.approx(12.5)
    assert found["left_out"] == ["depth.rmse"]


def test_nothing_with_a_value() -> None:
    """A model that gives nothing finite has no Δ at all, and is no cut that others are compared with."""
    lost = record("multi-task", 0, 40, math.nan, math.nan)
    found = {
        each["method"]: each for each in methods_of(rows_of([RECORDS[0], lost, RECORDS[6]], {}, DIRECTIONS), NAMES)
    }
    assert found["multi-task"]["delta"]["mean"] is None and found["multi-task"]["over_best_cut"] is None
    assert found["mine"]["over_best_cut"] is None and found["mine"]["over_cuts"] is None


def test_the_best_cut_does_not_depend_on_the_order() -> None:
    """A cut without Δ is none, wherever it stands."""
    lost = record("share-until:1", 0, 45, math.nan, math.nan)
    for records in ([RECORDS[0], lost, RECORDS[2], RECORDS[6]], [RECORDS[6], RECORDS[2], lost, RECORDS[0]]):
        (found,) = methods_of(rows_of(records, {}, DIRECTIONS), ["mine"])
        assert found["over_best_cut"]["cut"] == "multi-task"


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_the_interval_is_students(values: list[float]) -> None:
    """As scipy has it."""
    found = mean_of(values)
    error = stats.sem(values)
    if error == 0:
        assert found.low == found.high == found.value
    else:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=found.value, scale=error)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_interval() -> None:
    found = mean_of([3.0])
    assert found.value == 3.0 and math.isnan(found.low) and math.isnan(found.high)
    with pytest.raises(ValueError, match="no value"):
        mean_of([])


POINTS = st.lists(st.tuples(st.integers(0, 50), st.floats(-50, 50)), min_size=1, max_size=8)


@given(POINTS, st.integers(-5, 55))
def test_a_line_stays_among_its_points(pairs: list[tuple[int, float]], macs: int) -> None:
    """Nothing outside them; inside never above the highest or below the lowest; on a lone point the point."""
    points = [Point(cost, delta) for cost, delta in pairs]
    costs, deltas = [cost for cost, _ in pairs], [delta for _, delta in pairs]
    found = line_at(points, macs)
    if not min(costs) <= macs <= max(costs):
        assert math.isnan(found)
        return
    assert min(deltas) - 1e-9 <= found <= max(deltas) + 1e-9
    if costs.count(macs) == 1:
        assert found == pytest.approx(deltas[costs.index(macs)])


def test_there_is_no_line_without_points() -> None:
    assert math.isnan(line_at([], 3))
