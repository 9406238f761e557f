"""Properties: threads sleep while others need the cores and spin otherwise, and no number depends on it.

Nothing here depends on how long anything takes: what a spinning thread uses is its own CPU time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from watching import is_watching

from trunkline import spinning
from trunkline.spinning import Watch, queueing, spin_only_when_quiet, thread_times

pytestmark = pytest.mark.properties

ROOT = Path(__file__).resolve().parents[1]
NS = 1_000_000_000

needs_libgomp = pytest.mark.skipif(
    not spinning.libgomps() or not thread_times(), reason="needs libgomp, and a system that tells queueing times"
)

PROGRAM = """
import json, os, time
import torch
from trunkline.spinning import IdleTeam, libgomps

def own():
    return time.thread_time_ns()

def spent_waiting(rounds=30):
    # A worker waits for the next operator while this thread sleeps; the process's other time is the worker's.
    x = torch.ones(1 << 20)
    before, mine = time.process_time_ns(), own()
    for _ in range(rounds):
        x.add_(1)
        time.sleep(0.01)
    return (time.process_time_ns() - before - (own() - mine)) / rounds / 1e6

def numbers():
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(8, 8, 3)
    loss = layer(torch.randn(4, 8, 32, 32)).square().sum()
    loss.backward()
    return loss.item().hex(), layer.weight.grad.flatten().tolist()

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)
alone, expected = spent_waiting(), numbers()
before = threads()
team = IdleTeam(libgomps(), 2)
held, found = spent_waiting(), numbers()
during = threads()
team.let_go()
while threads() > before:
    time.sleep(0.001)
after = spent_waiting()
print(json.dumps({"alone": alone, "held": held, "after": after, "more": during - before, "same": found == expected}))
"""


@needs_libgomp
def test_an_idle_team_makes_waiting_threads_sleep() -> None:
    """CPU milliseconds that a worker spends after an operator; the results are the same to the last bit."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["more"] >= 2  # the team, and the thread that holds it
    assert found["held"] < 0.5 * found["alone"], found
    assert found["after"] > 2 * found["held"], found


def test_queueing_is_a_share_of_time() -> None:
    """Queueing is a share of the threads time."""
    before = {"1": (0, 0), "2": (5 * NS, NS), "gone": (NS, NS)}
    after = {"1": (3 * NS, NS), "2": (5 * NS, NS), "new": (9 * NS, 9 * NS)}
    assert queueing(before, after) == 0.25
    assert queueing(after, after) is None  # nothing was done
    assert queueing({}, {}) is None
    idle = {"1": (NS // 100, NS // 100)}
    assert queueing({"1": (0, 0)}, idle) is None


class Team:
    held = 0

    def __init__(self, paths: object, threads: int) -> None:
        Team.held += 1

    def let_go(self) -> None:
        Team.held -= 1


def test_a_team_is_held_while_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two shares nothing changes, and where nothing is known neither."""
    monkeypatch.setattr(spinning, "IdleTeam", Team)
    watch = Watch()
    told = [(0.0, 0), (0.2, 0), (0.3, 1), (0.9, 1), (None, 1), (0.2, 1), (0.05, 0), (None, 0), (0.2, 0), (0.3, 1)]
    for share, held in told:
        watch.follow(share)
        assert (Team.held, watch.sleeping) == (held, bool(held)), share
    watch.follow(0.0)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in spinning.WAIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@needs_libgomp
@pytest.mark.usefixtures("two_threads", "no_wish")
def test_the_watch_ends_with_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested, by decorator, and where an error ends it; a team that is held is let go."""
    monkeypatch.setattr(spinning, "IdleTeam", Team)
    monkeypatch.setattr(spinning, "PERIOD_S", 0.001)
    monkeypatch.setattr(spinning, "queueing", lambda before, after: 1.0)

    @spin_only_when_quiet()
    def inner() -> bool:
        return is_watching()

    assert not is_watching()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), spin_only_when_quiet():
            assert inner() and is_watching()
            while not Team.held:
                pass
            raise ZeroDivisionError
        assert not is_watching()
        assert Team.held == 0
    assert inner()
    assert not is_watching()


@needs_libgomp
@pytest.mark.usefixtures("two_threads", "no_wish")
@pytest.mark.parametrize("name", spinning.WAIT_VARIABLES)
def test_what_the_user_has_said_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0")
    assert spinning.wait_policy() == f"{name}=0"
    with spin_only_when_quiet():
        assert not is_watching()


@pytest.mark.usefixtures("no_wish")
def test_one_thread_needs_no_watch(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread or another runtime needs no watch."""
    assert spinning.wait_policy() == "default"
    with monkeypatch.context() as patched:
        patched.setattr(spinning, "libgomps", list)
        with spin_only_when_quiet():
            assert not is_watching()
    with monkeypatch.context() as patched:
        patched.setattr(spinning, "thread_times", dict)
        with spin_only_when_quiet():
            assert not is_watching()
    torch.set_num_threads(1)
    with spin_only_when_quiet():
        assert not is_watching()


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, trunkline.spinning as s; assert s.wait_policy(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


class Library:
    """A libgomp that notes the size of each team."""

    def __init__(self, procs: int) -> None:
        self.sizes: list[int] = []
        self.omp_get_num_procs = lambda: procs
        self.GOMP_parallel = self.Parallel(self)

    class Parallel:
        def __init__(self, library: Library) -> None:
            self.library = library

        def __call__(self, function: object, data: object, size: int, flags: int) -> None:
            self.library.sizes.append(size)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a C library that is loaded by no name")
@pytest.mark.parametrize(("procs", "threads"), [(2, 2), (8, 8), (8, 4), (8, 16), (64, 1)])
def test_a_team_is_just_enough(procs: int, threads: int) -> None:
    """With torch's threads, of which the first counts for both teams, one more than there are cores."""
    library = Library(procs)
    spinning._make_team(library, threads)
    (size,) = library.sizes
    assert size >= 2
    assert size + threads - 1 == max(procs, threads) + 1
