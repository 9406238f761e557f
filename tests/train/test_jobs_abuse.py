"""Jobs in processes of their own: one that fails, dies or is stopped costs nothing but itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import job_work
import pytest

from trunkline.errors import WorkFailed
from trunkline.train.jobs.job import Job
from trunkline.train.jobs.local_workers import LocalWorkers
from trunkline.train.jobs.ray_workers import RayWorkers
from trunkline.train.progress.job_progress import JobProgress

pytestmark = pytest.mark.abuse


class Seen(JobProgress):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def begun(self, name: str) -> None:
        self.told.append((name, "begun"))

    def ended(self, name: str, failure: str) -> None:
        self.told.append((name, failure or "done"))


def jobs_of(folder: Path, **work: Callable[[], None]) -> list[Job]:
    return [Job(name, do, folder / "logs" / f"{name}.log") for name, do in work.items()]


def until(ready: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_one_failure_stops_no_other(tmp_path: Path) -> None:
    """Bad input, a fault, a kill: each is told by its name, and what comes after is done."""
    work = {"bad": job_work.refuse, "fault": job_work.crash, "killed": job_work.die}
    good = partial(job_work.leave, tmp_path / "good")
    seen = Seen()
    failures = LocalWorkers().run(jobs_of(tmp_path, **work, good=good), seen)
    assert failures == {
        "bad": "InvalidConfig: here: this cannot be\n  do otherwise",
        "fault": f"ZeroDivisionError: of a test; more in {tmp_path}/logs/fault.log",
        "killed": "ended by SIGKILL",
    }
    assert (tmp_path / "good").read_text() == "done"
    assert seen.told[-2:] == [("good", "begun"), ("good", "done")]
    assert "Traceback" in (tmp_path / "logs/fault.log").read_text()
    assert "Traceback" not in (tmp_path / "logs/bad.log").read_text()


def test_a_process_killed_before_it_has_its_job(tmp_path: Path) -> None:
    """What it never took is in the buffer still when the pipe is closed: once, that ended everything, as done."""
    good = partial(job_work.leave, tmp_path / "good")
    failures = LocalWorkers().run(jobs_of(tmp_path, killed=job_work.KilledBefore(), good=good), JobProgress())
    assert failures == {"killed": "ended by SIGKILL"} and (tmp_path / "good").read_text() == "done"


def test_as_many_at_a_time_as_asked(tmp_path: Path) -> None:
    """Two that wait for each other end only if both run; with one at a time the second would never begin."""
    a, b = tmp_path / "a", tmp_path / "b"
    work = jobs_of(tmp_path, a=partial(job_work.meet, a, b), b=partial(job_work.meet, b, a))
    assert LocalWorkers(count=2).run(work, JobProgress()) == {}


def test_a_job_has_its_threads_and_its_log(tmp_path: Path) -> None:
    """The number is set in the job alone; what it prints is added to its log, whoever prints it."""
    before = os.environ.get("OMP_NUM_THREADS")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/speak.log").write_text("earlier\n")
    work = {"speak": partial(job_work.speak, "word"), "threads": partial(job_work.threads, tmp_path / "threads")}
    assert LocalWorkers(threads=3).run(jobs_of(tmp_path, **work), JobProgress()) == {}
    assert (tmp_path / "threads").read_text() == "3"
    assert os.environ.get("OMP_NUM_THREADS") == before
    lines = (tmp_path / "logs/speak.log").read_text().splitlines()
    assert lines[0] == "earlier" and sorted(lines[1:]) == ["word err", "word low", "word out"]


def test_a_job_waits_for_others(tmp_path: Path) -> None:
    """Though it comes first and there is room for both; where the other fails, it begins all the same."""
    names = ("second", "first", "third", "fails")
    work = {name: partial(job_work.leave, tmp_path / name) for name in names[:3]}
    first, second, third, fails = [
        Job(name, work.get(name, job_work.refuse), tmp_path / f"{name}.log", after)
        for name, after in (("first", ()), ("second", ("first",)), ("third", ("fails", "elsewhere")), ("fails", ()))
    ]
    seen = Seen()
    assert list(LocalWorkers(count=2).run([second, third, first, fails], seen)) == ["fails"]
    assert seen.told.index(("second", "begun")) > seen.told.index(("first", "done"))
    fall = next(number for number, (name, how) in enumerate(seen.told) if name == "fails" and how != "begun")
    assert seen.told.index(("third", "begun")) > fall
    assert (tmp_path / "third").exists()


def waiting_process(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that waits for a long job, in a group of its own, as a shell does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = "import sys; from pathlib import Path; import job_work; job_work.wait_through_workers(Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment, start_new_session=True)
    until(lambda: (folder / "long").exists() and (folder / "long").read_text() == "begun")
    return process


def test_ctrl_c_lets_the_jobs_save(tmp_path: Path) -> None:
    """The terminal sends it to the whole group; the job gets it once, saves, and is waited for."""
    process = waiting_process(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert (tmp_path / "long").read_text() == "saved"


def test_a_job_ends_with_who_waits_for_it(tmp_path: Path) -> None:
    """Killed outright, the waiting process can stop nobody; its job notices."""
    process = waiting_process(tmp_path)
    process.kill()
    process.wait(timeout=60)
    until(lambda: (tmp_path / "long").read_text() == "saved")


def test_ray_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, the error says how to get it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkFailed, match=r"Ray is not installed\n  pip install 'trunkline\[ray\]'"):
        RayWorkers("local", 1).run(jobs_of(tmp_path, refuse=job_work.refuse), JobProgress())


@pytest.mark.slow
def test_the_same_jobs_on_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a cluster of this machine: done, failed, killed, two at a time."""
    pytest.importorskip("ray", reason="pip install 'trunkline[ray]'")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # where its processes find this work
    a, b = tmp_path / "a", tmp_path / "b"
    work = {
        "bad": job_work.refuse,
        "killed": job_work.die,
        "a": partial(job_work.meet, a, b),
        "b": partial(job_work.meet, b, a),
        "good": partial(job_work.leave, tmp_path / "good"),
    }
    seen = Seen()
    failures = RayWorkers("local", 2).run(jobs_of(tmp_path, **work), seen)
    assert failures.pop("bad") == "InvalidConfig: here: this cannot be\n  do otherwise"
    assert list(failures) == ["killed"]
    assert (tmp_path / "good").read_text() == "done"
    assert sum(how == "begun" for _, how in seen.told) == 5
