"""Work for jobs that run in processes of their own; each leaves a file by which a test sees what it did."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from trunkline.errors import InvalidConfig


def leave(path: Path, text: str = "done") -> None:
    """Write a file."""
    path.write_text(text)


def threads(path: Path) -> None:
    """Write how many threads torch would compute with."""
    path.write_text(os.environ["OMP_NUM_THREADS"])


def speak(words: str) -> None:
    """Print on both streams, and below Python."""
    sys.stdout.write(f"{words} out\n")
    sys.stderr.write(f"{words} err\n")
    os.write(2, f"{words} low\n".encode())


def refuse() -> None:
    """Fail as bad input does."""
    raise InvalidConfig("this cannot be", place="here", advice="do otherwise")


def crash() -> None:
    """Fail as a fault of ours does."""
    raise ZeroDivisionError("of a test")


def die() -> None:
    """End like a process that the system kills for its memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def job_processes(pid: int) -> list[int]:
    """Return the processes that a process has started for jobs; a new one has its name a moment later."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"jobs.child" in Path(f"/proc/{child}/cmdline").read_bytes()]


class KilledBefore:
    """Work whose process is killed before it is handed over: packing it up kills what this process has started."""

    def __call__(self) -> None:
        """Never come to this."""
        raise AssertionError("the process was killed")

    def __reduce__(self) -> tuple[type[KilledBefore], tuple[()]]:
        """Pack it up."""
        while not (found := job_processes(os.getpid())):
            time.sleep(0.01)
        for child in found:
            os.kill(child, signal.SIGKILL)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        return KilledBefore, ()


def wait_for_the_end(path: Path) -> None:
    """Work until it is told to end; then save."""
    path.write_text("begun")
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.5)  # as long as a step may take; told to end a second time, it would not save
        path.write_text("saved")
        raise


def meet(mine: Path, other: Path) -> None:
    """End only if another job runs at the same time."""
    mine.write_text("here")
    deadline = time.monotonic() + 40
    while not other.exists():
        if time.monotonic() > deadline:
            raise InvalidConfig("nobody came")
        time.sleep(0.02)


def wait_through_workers(folder: Path) -> None:
    """Be the process that waits for a job, as the command line is."""
    from functools import partial

    from trunkline.train.jobs.job import Job
    from trunkline.train.jobs.local_workers import LocalWorkers
    from trunkline.train.progress.job_progress import JobProgress

    job = Job("long", partial(wait_for_the_end, folder / "long"), folder / "long.log")
    LocalWorkers().run([job], JobProgress())
