"""Abuse: short stretches of every fuzzer, always the same inputs; and what the fuzzers themselves must notice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fuzz.counter import Count, Counter
from fuzz.driver import Driver
from fuzz.findings import Findings
from fuzz.target import Target
from fuzz.targets import TARGETS
from fuzz.worker import Watch, plain
from trunkline.errors import InvalidModel, TrunklineError

pytestmark = pytest.mark.abuse

KEPT = Path(__file__).parents[1] / "corpus" / "fuzz"
RUNS = {"prototxt": 800, "caffemodel": 2000, "onnx": 500, "graphs": 60}
"""Inputs in the default suite, about two seconds each; a hundred times as many in the slow one."""


def work(target: Target, folder: Path, stop: int, start: int = 0) -> tuple[Count, list[str]]:
    """Read a stretch of inputs in this process; return the counts and all findings."""
    counter, findings = Counter(folder / "counter"), Findings(folder / "findings")
    counter.write(Count(index=start))
    plain(target, 0, stop, Watch(target, counter, findings))
    return counter.read(), findings.list()


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_stretch_finds_nothing(name: str, tmp_path: Path) -> None:
    count, findings = work(TARGETS[name], tmp_path, RUNS[name])
    assert findings == []
    assert count.runs == RUNS[name]
    assert 0 < count.accepted < count.runs


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_a_long_stretch_finds_nothing(name: str, tmp_path: Path) -> None:
    assert work(TARGETS[name], tmp_path, 100 * RUNS[name], start=RUNS[name])[1] == []


@pytest.mark.parametrize("path", sorted(KEPT.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_was_found_once_is_mended(path: Path) -> None:
    TARGETS[path.parent.name].accepts(path.read_bytes())


def test_inputs_follow_from_their_number_alone() -> None:
    for target in TARGETS.values():
        seeds = target.seeds()
        forth = [target.input(seeds, 7, index) for index in range(20)]
        assert [target.input(seeds, 7, index) for index in reversed(range(20))][::-1] == forth
        assert len(set(forth)) > 10
        assert max(map(len, forth)) <= target.longest


# The controls: a fuzzer that notices nothing would pass all of the above.


def fragile(data: bytes) -> None:
    number = int(data)
    if number % 5 == 1:
        raise KeyError(number)
    if number % 5 == 2:
        raise InvalidModel("refused")
    if number % 5 == 3:
        raise TrunklineError([])


def control(read: object = fragile) -> Target:
    return Target("control", read, lambda: [b"0"], lambda a, b, rng: b"%d" % rng.randrange(100), "fuzz")  # type: ignore[arg-type]


def test_each_crash_is_kept_once(tmp_path: Path) -> None:
    """With its input."""
    count, findings = work(control(), tmp_path, 50)
    assert len(findings) == 2
    assert {line.split(": ")[1].split(" ")[0] for line in findings} == {"KeyError", "AssertionError"}
    for line in findings:
        kept = (tmp_path / "findings" / line.partition(":")[0]).read_bytes()
        with pytest.raises((KeyError, AssertionError)):
            control().accepts(kept)
    assert 0 < count.accepted < 50


def test_a_slow_input_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.worker.SLOW_S", 0.01)
    _, findings = work(control(lambda data: time.sleep(0.02)), tmp_path, 1)
    assert "slow" in findings[0]


DYING = """
import os, signal, sys, time
from pathlib import Path
from fuzz.counter import Counter
counter, stop = Counter(Path(sys.argv[1])), int(sys.argv[2])
count = counter.read()
while count.index < stop:
    counter.write(count)
    if count.index == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if count.index == 6:
        time.sleep(60)
    count.index += 1
    count.runs += 1
    counter.write(count)
"""


@pytest.mark.timeout(60)
def test_dying_and_hanging_workers_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rest is done."""
    monkeypatch.setattr("fuzz.driver.SLOW_S", 0.2)
    monkeypatch.setattr("fuzz.driver._START_S", 2.0)
    driver = Driver(control(), tmp_path, engine="plain", seed=0, workers=2, chunk=5)
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", DYING, command[6], command[5]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr("fuzz.driver.subprocess.Popen", popen)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    state = driver.run(10)
    assert state.runs == 10
    assert sorted(state.done) == [0, 1]
    assert sorted(line.split(": ")[1].split(",")[0] for line in driver.findings.list()) == [
        "hang",
        f"the process died with {-signal.SIGSEGV}",
    ]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_stops_its_workers(stop: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, *f"-m fuzz caffemodel --engine plain --workers 1 --out {tmp_path}".split()]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        counter = tmp_path / "caffemodel-plain-0" / "counter-0"
        while not counter.exists() or not Counter(counter).read().runs:
            time.sleep(0.05)
        process.send_signal(stop)
        assert process.wait() == 130
        assert process.stderr is not None
        assert "start it again" in process.stderr.read()
    done = Counter(counter).read()
    time.sleep(0.2)
    assert Counter(counter).read() == done


def test_stopped_runs_go_on(tmp_path: Path) -> None:
    """Where they were."""
    target = TARGETS["caffemodel"]
    first = Driver(target, tmp_path, engine="plain", seed=3, workers=1, chunk=40)
    assert first.run(40).done == [0]
    again = Driver(target, tmp_path, engine="plain", seed=3, workers=2, chunk=40)
    state = again.run(80)
    assert sorted(state.done) == [0, 1]
    alone, _ = work(target, tmp_path, 80)
    assert alone.runs == state.runs
