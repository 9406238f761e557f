"""Jobs as processes of this machine, a few at a time."""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trunkline.train.jobs.job import Job, Show
from trunkline.train.jobs.job_list import do_all

_CHILD = "from trunkline.train.jobs.child import main; main()"


@dataclass(frozen=True, slots=True)
class _Running:
    """A job's process, its log, and the file in which it says how it ended: at its end when the process is gone."""

    process: subprocess.Popen[bytes]
    answers: IO[bytes]
    log: Path


@dataclass(frozen=True, slots=True)
class LocalWorkers:
    """Processes of this machine.

    Attributes:
        count: How many jobs run at a time.
        threads: Threads that each of them computes with. Sums depend on their number in the last digits.
    """

    count: int = 1
    threads: int = 1

    def run(self, jobs: Sequence[Job], show: Show) -> dict[str, str]:
        """Do all jobs; see :class:`~trunkline.train.jobs.job.Workers`."""
        return do_all(_Processes(self.threads), jobs, self.count, show)


class _Processes:
    """Jobs that run now, each in a process with so many threads."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._running: dict[str, _Running] = {}

    def begin(self, job: Job) -> None:
        """Start the job's process and hand the job over."""
        receiving, sending = os.pipe()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # this very Python
                [sys.executable, "-c", _CHILD, str(sending)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment(),
                pass_fds=(sending,),
                # Ctrl-C in the terminal goes to a whole session; who waits for the job passes it on, once.
                start_new_session=True,
            )
        # Only the job's own end is left: when it dies, there is nothing more to read.
        os.close(sending)
        self._running[job.name] = _Running(process, os.fdopen(receiving, "rb"), job.log)
        _send(process, job)

    def ended(self) -> dict[str, str]:
        """Wait until a job has ended, or said how it does."""
        with selectors.DefaultSelector() as selector:
            for name, each in self._running.items():
                selector.register(each.answers, selectors.EVENT_READ, name)
            names = [key.data for key, _ in selector.select()]
        return {name: _answer(self._running.pop(name)) for name in names}

    def stop(self) -> None:
        """Ask what still runs to save and end, and wait for it; a second Ctrl-C ends it at once."""
        for each in self._running.values():
            each.process.terminate()
        try:
            for each in self._running.values():
                _wait_for(each)
        except KeyboardInterrupt:
            for each in self._running.values():
                each.process.kill()
            raise

    def _environment(self) -> Mapping[str, str]:
        # torch reads the number of threads when it is imported; packages are found where this process finds them.
        paths = os.pathsep.join(path for path in sys.path if path)
        return {**os.environ, "OMP_NUM_THREADS": str(self._threads), "PYTHONPATH": paths}


def _send(process: subprocess.Popen[bytes], job: Job) -> None:
    """Hand a job over. The pipe stays open: where it ends, the job knows that nobody waits for it any more."""
    assert process.stdin is not None
    # Where it is gone already, its answer, or the lack of one, is read where all others are.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(job))
        process.stdin.flush()


def _answer(ended: _Running) -> str:
    """Return why a job failed; one that was killed has not said it."""
    said = ended.answers.read()
    _wait_for(ended)
    # Something is said in any case; so where nothing was, the process did not come to its end.
    return str(pickle.loads(said)) if said else _of_exit(ended.process.returncode, ended.log)  # noqa: S301  # our own process


def _wait_for(ended: _Running) -> None:
    # First of all: where its pipe is closed, a job that still runs takes this process for dead, and stops.
    ended.process.wait()
    ended.answers.close()
    assert ended.process.stdin is not None
    # Closing writes what the pipe did not take, of a job that ended before it was handed over: it fails, and closes.
    with contextlib.suppress(BrokenPipeError):
        ended.process.stdin.close()


def _of_exit(code: int, log: Path) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}; more in {log}"
