"""The protocol with fake sessions on a synthetic clock."""

from __future__ import annotations

import gc
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from trunkline.bench.candidate import Candidate, Macs
from trunkline.bench.compare import compare
from trunkline.bench.environment import Environment, read_environment
from trunkline.bench.protocol import measure
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig, WorkFailed

if TYPE_CHECKING:
    from tests.bench.conftest import FakeClock, FakeSession


QUICK = Settings(minimum_samples=64, minimum_seconds=0.0, warm_up_seconds=0.0)


@pytest.mark.golden
def test_samples_are_the_clocks(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    (latency,) = measure([Candidate("a", (session(4.0),))], QUICK, clock=clock, environment=environment)
    assert latency.samples_ms == (4.0,) * 64
    assert (latency.p50_ms, latency.p50_ci_ms, latency.p90_ms, latency.p99_ms) == (4.0, (4.0, 4.0), 4.0, None)
    assert latency.stable and latency.reason == ""
    assert latency.environment is environment


@pytest.mark.golden
@pytest.mark.parametrize(("count", "p90", "p99"), [(63, False, False), (64, True, False), (662, True, True)])
def test_tail_percentiles_only_with_enough_samples(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment, count: int, p90: bool, p99: bool
) -> None:
    settings = replace(QUICK, minimum_samples=count)
    (latency,) = measure([Candidate("a", (session(1.0),))], settings, clock=clock, environment=environment)
    assert (len(latency.samples_ms), latency.p90_ms is not None, latency.p99_ms is not None) == (count, p90, p99)


@pytest.mark.golden
def test_several_sessions_are_one_sample(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    independent = Candidate("independent", (session(3.0), session(5.0)))
    (latency,) = measure([independent], QUICK, clock=clock, environment=environment)
    assert latency.p50_ms == 8.0
    assert latency.region == "2 sessions one after another, each: fake"


@pytest.mark.properties
def test_candidates_take_turns_in_random_order(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """Candidates take turns in random order, on the same input within a round; each runs before on another one."""
    first, second = session(1.0), session(2.0)
    order: list[tuple[str, int]] = []
    for name, each in (("a", first), ("b", second)):
        run = each.run
        each.run = lambda run=run, each=each, name=name: (order.append((name, each.index)), run())[1]
    measure([Candidate("a", (first,)), Candidate("b", (second,))], QUICK, clock=clock, environment=environment)
    settling, timed = order[::2], order[1::2]
    assert all(before[0] == run[0] and before[1] != run[1] for before, run in zip(settling, timed, strict=True))
    rounds = [timed[start : start + 2] for start in range(0, len(timed), 2)]
    assert all({name for name, _ in turn} == {"a", "b"} for turn in rounds)
    assert all(len({index for _, index in turn}) == 1 for turn in rounds)
    assert len({turn[0][0] for turn in rounds}) == 2
    assert {index for _, index in order} == {0, 1, 2, 3}


@pytest.mark.golden
def test_what_a_device_tells_is_kept_apart(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """The sum over sessions, as a median over timed rounds; where one of them tells nothing, nothing is known."""
    silent, first, second = session(2.0), session(3.0), session(4.0)
    first.device_ms, second.device_ms = 1.0, 0.25
    pairs = {"both": (first, second), "one": (first, silent), "none": (silent,)}
    candidates = [Candidate(name, sessions) for name, sessions in pairs.items()]
    found = measure(candidates, QUICK, clock=clock, environment=environment)
    assert [latency.device_p50_ms for latency in found] == [1.25, None, None]
    assert [latency.p50_ms for latency in found] == [7.0, 5.0, 2.0]
    assert found[0].to_json()["device_p50_ms"] == 1.25


@pytest.mark.properties
def test_others_in_the_caches_cost_nothing(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """A model that takes longer right after another one has the time that it takes after itself."""
    last: list[str] = []

    def run(name: str) -> None:
        clock.now += 1_000_000 if last == [name] else 9_000_000
        last[:] = [name]

    pair = {name: session(1.0) for name in "ab"}
    for name, each in pair.items():
        each.run = partial(run, name)  # type: ignore[method-assign]
    candidates = [Candidate(name, (each,)) for name, each in pair.items()]
    for latency in measure(candidates, QUICK, clock=clock, environment=environment):
        assert set(latency.samples_ms) == {1.0}


@pytest.mark.properties
def test_seed_repeats_the_order(clock: FakeClock, environment: Environment) -> None:
    from_seed = {seed: _first_runs(clock, environment, seed) for seed in (0, 1)}
    assert _first_runs(clock, environment, 0) == from_seed[0]
    assert from_seed[0] != from_seed[1]


def _first_runs(clock: FakeClock, environment: Environment, seed: int) -> list[str]:
    order: list[str] = []

    class Session:
        region, provider, threads, spinning, inputs, device_ms = "fake", "cpu", 1, None, (), None

        def __init__(self, name: str) -> None:
            self.name = name

        def feed(self, index: int) -> None: ...

        def run(self) -> None:
            order.append(self.name)
            clock.now += 1_000_000

        def outputs(self) -> dict[str, np.ndarray]:
            return {}

        def describe(self) -> dict[str, str]:
            return {}

        def close(self) -> None: ...

    measure(
        [Candidate(name, (Session(name),)) for name in "abc"],
        replace(QUICK, seed=seed),
        clock=clock,
        environment=environment,
    )
    return order


@pytest.mark.golden
def test_warm_up_ends_when_median_is_flat(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    slow_start = itertools.chain([50.0 * 0.8**run for run in range(20)], itertools.repeat(1.0))
    (latency,) = measure([Candidate("a", (session(slow_start),))], QUICK, clock=clock, environment=environment)
    assert latency.samples_ms == (1.0,) * 64


@pytest.mark.golden
def test_warm_up_is_bounded(clock: FakeClock, session: Callable[..., FakeSession], environment: Environment) -> None:
    """Warming up is bounded, and the result says so."""
    growing = (1.02**run for run in itertools.count())
    settings = replace(QUICK, warm_up_limit_seconds=0.5)
    (latency,) = measure([Candidate("a", (session(growing),))], settings, clock=clock, environment=environment)
    assert not latency.stable
    assert latency.reason.startswith("slowed down during the measurement")
    assert latency.reason.endswith("the running median was not flat after 0.5 s of warm-up")


@pytest.mark.golden
def test_rounds_last_for_the_least_time(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """Rounds go on until the time to measure is used."""
    settings = replace(QUICK, minimum_seconds=2.0)  # of which half is for the runs before
    (latency,) = measure([Candidate("a", (session(10.0),))], settings, clock=clock, environment=environment)
    assert len(latency.samples_ms) == 100


@pytest.mark.golden
def test_limit_leaves_enough_for_a_median(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    settings = replace(QUICK, limit_seconds=1.0, warm_up_limit_seconds=0.0)
    (latency,) = measure([Candidate("a", (session(1000.0),))], settings, clock=clock, environment=environment)
    assert len(latency.samples_ms) == 11


@pytest.mark.golden
def test_progress_counts_rounds(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    seen: list[tuple[int, int]] = []
    measure(
        [Candidate("a", (session(1.0),))],
        QUICK,
        clock=clock,
        environment=environment,
        progress=lambda done, planned: seen.append((done, planned)),
    )
    assert seen == [(done, 64) for done in range(1, 65)]


@pytest.mark.properties
@pytest.mark.parametrize("was_enabled", [True, False])
def test_garbage_collector_is_paused_and_restored(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment, was_enabled: bool
) -> None:
    inside: list[bool] = []
    a = session(1.0, lambda index, count: inside.append(gc.isenabled()) or np.array([float(index)]))
    before = gc.isenabled()
    try:
        (gc.enable if was_enabled else gc.disable)()
        measure([Candidate("a", (a,))], QUICK, clock=clock, environment=environment)
        assert gc.isenabled() is was_enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert inside and not any(inside)


def _stale(index: int, count: int) -> np.ndarray:
    return np.array([float(index if count < 10 else 0)])


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda index, count: np.array([1.0, np.nan]), "not finite"),
        (lambda index, count: np.array([np.inf]) if count > 20 else np.array([1.0]), "not finite"),
        (lambda index, count: np.array([1.0 + 0.01 * count]), "different outputs"),
        (_stale, "different outputs"),
        (lambda index, count: np.zeros(2 if count > 20 else 1), "different outputs"),
    ],
)
def test_untrustworthy_outputs_stop_the_bench(
    clock: FakeClock,
    session: Callable[..., FakeSession],
    environment: Environment,
    answer: Callable[[int, int], np.ndarray],
    says: str,
) -> None:
    with pytest.raises(WorkFailed, match=says) as caught:
        measure([Candidate("cheat", (session(1.0, answer),))], QUICK, clock=clock, environment=environment)
    assert caught.value.problems[0].place == "cheat, output out"


@pytest.mark.properties
def test_rounding_between_runs_is_tolerated(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    wobbling = session(1.0, lambda index, count: np.array([1.0 + 1e-6 * (count % 3), 0.0]))
    assert measure([Candidate("a", (wobbling,))], QUICK, clock=clock, environment=environment)[0].stable


@pytest.mark.abuse
def test_clock_that_stands_still(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    with pytest.raises(WorkFailed, match="did not advance"):
        measure([Candidate("a", (session(0.0),))], QUICK, clock=clock, environment=environment)


@pytest.mark.abuse
def test_no_candidates_or_equal_names(clock: FakeClock, session: Callable[..., FakeSession]) -> None:
    with pytest.raises(InvalidConfig, match="nothing to measure"):
        measure([], QUICK, clock=clock)
    with pytest.raises(InvalidConfig, match="two candidates are called a"):
        measure([Candidate("a", (session(1.0),)), Candidate("a", (session(1.0),))], QUICK, clock=clock)
    with pytest.raises(ValueError, match="no session"):
        Candidate("a", ())


@pytest.mark.abuse
def test_settings_name_every_problem() -> None:
    with pytest.raises(InvalidConfig) as caught:
        Settings(batch=0, minimum_samples=10, provider="cdua")
    assert [problem.place for problem in caught.value.problems] == [
        "bench.batch",
        "bench.minimum_samples",
        "bench.provider",
    ]
    assert caught.value.problems[-1].advice == 'did you mean "cuda"?'


@pytest.mark.golden
def test_comparison_against_the_first(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.02, 10_000)
    candidates = [
        Candidate("independent", (session(4.0), session(6.0))),
        Candidate("shared", (session(5.0),)),
        Candidate("wobbly", (session(iter(10.0 * noise)),)),
    ]
    latencies = measure(candidates, QUICK, clock=clock, environment=environment)
    found = compare(latencies, {"independent": Macs(80, 20), "shared": Macs(20, 20)}, settings=QUICK)
    shared, wobbly = found.ratios
    assert (shared.ratio, shared.ci, shared.speed_up, shared.verdict) == (
        pytest.approx(0.5),
        pytest.approx((0.5, 0.5)),
        pytest.approx(2.0),
        "faster",
    )
    assert wobbly.verdict in ("same", "undecided") and not wobbly.different
    assert wobbly.ci[0] < wobbly.ratio < wobbly.ci[1]
    assert wobbly.to_json()["speed_up_ci"] == pytest.approx([1 / wobbly.ci[1], 1 / wobbly.ci[0]])
    assert found.bounds["shared"].bound_ms == pytest.approx(4.0)
    assert found.bounds["shared"].time_over_bound == pytest.approx(1.25)
    assert found.bounds["independent"].time_over_bound == 1.0
    assert "wobbly" not in found.bounds
    assert found.stable


@pytest.mark.golden
def test_comparison_as_json(clock: FakeClock, session: Callable[..., FakeSession], environment: Environment) -> None:
    latencies = measure(
        [Candidate("a", (session(2.0),)), Candidate("b", (session(1.0),))], QUICK, clock=clock, environment=environment
    )
    found = json.loads(json.dumps(compare(latencies, {"a": Macs(10)}, settings=QUICK).to_json()))
    assert set(found) == {
        "models",
        "ratios",
        "stable",
        "settings",
        "environment",
        "device",
        "runtime",
        "left_out",
        "against",
        "further",
    }
    first, second = found["models"]
    assert {"name", "p50_ms", "p50_ci_ms", "p90_ms", "p99_ms", "samples", "provider", "threads"} <= set(first)
    assert (first["samples"], first["macs"], second["macs"], second["p99_ms"]) == (64, 10, None, None)
    assert "environment" not in first and set(first) == set(second)
    assert found["ratios"][0]["speed_up_ci"] == pytest.approx([2.0, 2.0])
    assert found["environment"]["cpu"] == "Fake CPU"
    assert latencies[0].to_json()["environment"]["cpu"] == "Fake CPU"


@pytest.mark.golden
@pytest.mark.parametrize(
    ("difference", "float32", "int8"), [(0.0005, True, True), (0.05, False, True), (0.2, False, False)]
)
def test_agreement_of_8_bit_models(
    clock: FakeClock,
    session: Callable[..., FakeSession],
    environment: Environment,
    difference: float,
    float32: bool,
    int8: bool,
) -> None:
    """Runtimes round to other steps; what is float32 may not differ so much."""
    latencies = measure(
        [Candidate("a", (session(2.0),)), Candidate("b", (session(1.0),), quantised=True)],
        QUICK,
        clock=clock,
        environment=environment,
    )
    found = replace(compare(latencies, settings=QUICK), differences={"a": difference, "b": difference})
    assert [model["agrees"] for model in found.to_json()["models"]] == [float32, int8]
    assert found.agrees == (float32 and int8)


@pytest.mark.abuse
def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no latency"):
        compare([])


@pytest.mark.golden
def test_environment_of_this_machine() -> None:
    found = read_environment()
    assert found.cpu and found.cores >= 1 and "numpy" in found.versions
    json.dumps(found.to_json())


@pytest.mark.golden
def test_work_adds_up_part_by_part() -> None:
    assert Macs(7, 2) + Macs(10, 5) == Macs(17, 7)
    assert Macs(7, 2).to_json() == {"macs": 9, "backbone_macs": 7, "head_macs": 2}


@pytest.mark.golden
def test_candidate_of_unlike_sessions(clock: FakeClock, session: Callable[..., FakeSession]) -> None:
    """The most threads, spinning where any does, and unknown only where none says."""
    first, second, third = session(1.0), session(1.0), session(1.0)
    first.threads, second.threads, third.threads = 2, 4, 1
    first.provider = "cuda"
    first.spinning, second.spinning, third.spinning = None, True, False
    together = Candidate("all", (first, second, third))
    assert (together.threads, together.spinning, together.provider) == (4, True, "cuda, cpu")
    assert Candidate("quiet", (first, third)).spinning is False
    assert Candidate("silent", (first,)).spinning is None


@pytest.mark.golden
def test_empty_output_is_repeatable(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    empty = session(1.0, lambda index, count: np.zeros((0, 4)))
    assert measure([Candidate("a", (empty,))], QUICK, clock=clock, environment=environment)[0].stable


@pytest.mark.golden
def test_ratio_names_the_unsteady_latency(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """Its own two latencies, and no other."""
    growing = (1.02**run for run in itertools.count())
    candidates = [Candidate("a", (session(1.0),)), Candidate("b", (session(growing),)), Candidate("c", (session(2.0),))]
    settings = replace(QUICK, warm_up_limit_seconds=0.0)
    a, b, c = measure(candidates, settings, clock=clock, environment=environment)
    assert (a.stable, b.stable, c.stable) == (True, False, True)
    first = compare([a, b, c])
    assert [(ratio.stable, ratio.reason) for ratio in first.ratios] == [(False, f"b: {b.reason}"), (True, "")]
    against = compare([b, a, c])
    assert [ratio.reason for ratio in against.ratios] == [f"b: {b.reason}"] * 2
    assert not first.stable


@pytest.mark.golden
def test_work_of_nothing_bounds_nothing(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """What is known is told even where no share of it can be."""
    latencies = measure(
        [Candidate("a", (session(2.0),)), Candidate("b", (session(1.0),))], QUICK, clock=clock, environment=environment
    )
    idle = compare(latencies, {"a": Macs(0), "b": Macs(5)})
    assert not idle.bounds
    assert [model["macs"] for model in idle.to_json()["models"]] == [0, 5]
    assert set(compare(latencies, {"a": Macs(5), "b": Macs(0)}).bounds) == {"a"}
    assert set(compare(latencies, {"a": Macs(1), "b": Macs(1)}).bounds) == {"a", "b"}
    alone = compare(latencies, {"b": Macs(5)})
    assert not alone.bounds
    assert [model["macs"] for model in alone.to_json()["models"]] == [None, 5]


@pytest.mark.golden
def test_each_percentile_is_its_own(
    clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """662 samples support all three."""
    noise = 5.0 * np.random.default_rng(0).lognormal(0, 0.05, 5000)
    settings = replace(QUICK, minimum_samples=662)
    (latency,) = measure([Candidate("a", (session(iter(noise)),))], settings, clock=clock, environment=environment)
    found = (latency.p50_ms, latency.p90_ms, latency.p99_ms)
    assert found == pytest.approx(np.quantile(latency.samples_ms, [0.5, 0.9, 0.99], method="median_unbiased"))
    assert latency.p50_ci_ms[0] < latency.p50_ms < latency.p50_ci_ms[1]
