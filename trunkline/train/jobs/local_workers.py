"""Jobs as processes of this machine, a few at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from trunkline.errors import TrunklineError
from trunkline.train.jobs.job import Job, Show

# A process that is forked shares locks and threads of torch, and may hang on them.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class _Running:
    """A job's process, and the end of the pipe in which it says how it ended."""

    process: SpawnProcess
    answers: Connection


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
        waiting, running = list(jobs), dict[str, _Running]()
        failures: dict[str, str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.count:
                    job = waiting.pop(0)
                    running[job.name] = self._begin(job)
                    show.begun(job.name)
                for name in _ended(running):
                    failure = _answer(running.pop(name))
                    if failure:
                        failures[name] = failure
                    show.ended(name, failure)
        finally:
            _stop(running)
        return failures

    def _begin(self, job: Job) -> _Running:
        receiving, sending = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(target=do_job, args=(job, sending), name=job.name)
        with _threads_of_children(self.threads):
            process.start()
        # Only the job's own end is left: when it dies, the pipe is closed.
        sending.close()
        return _Running(process, receiving)


def do_job(job: Job, answers: Connection) -> None:
    """Do a job in a process of its own, and say how it ended: an empty text, or why it failed."""
    # Ctrl-C in the terminal goes to the whole group; the process that waits passes it on, once.
    os.setsid()
    # By default SIGTERM ends Python at once, without `finally`: temporary files would stay.
    signal.signal(signal.SIGTERM, _stopped)
    _end_with_parent()
    with _printing_to(job.log):
        answers.send(failure_of(job))


def failure_of(job: Job) -> str:
    """Do a job here; return why it failed, or an empty text. What nobody expected goes to its log, too."""
    try:
        job.work()
    except TrunklineError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return f"{type(error).__name__}: {error}"
    except MemoryError:
        return "there is not enough memory"
    except KeyboardInterrupt as error:
        return str(error) or "stopped"
    except Exception as error:  # a fault of ours must not pass for a job that is done
        traceback.print_exc()
        return f"{type(error).__name__}: {error}; more in {job.log}"
    return ""


def _stopped(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")


def _ended(running: dict[str, _Running]) -> list[str]:
    """Wait until a job has ended, and return the names of all that have."""
    sentinels = {each.process.sentinel: name for name, each in running.items()}
    return [sentinels[ready] for ready in wait(list(sentinels)) if isinstance(ready, int)]


def _answer(ended: _Running) -> str:
    """Return why a job failed; one that was killed has not said it."""
    ended.process.join()
    try:
        answer: str = ended.answers.recv() if ended.answers.poll() else _of_exit(ended.process.exitcode)
    except EOFError:  # what poll() takes for an answer where the other end is closed
        answer = _of_exit(ended.process.exitcode)
    ended.answers.close()
    return answer


def _of_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}, without a word"


def _stop(running: dict[str, _Running]) -> None:
    """Ask what still runs to save and end, and wait for it; a second Ctrl-C ends it at once."""
    for each in running.values():
        each.process.terminate()
    try:
        for each in running.values():
            each.process.join()
    except KeyboardInterrupt:
        for each in running.values():
            each.process.kill()
        raise


def _end_with_parent() -> None:
    """End, as on SIGTERM, when the process that waits for this one is gone: nobody else would ever stop it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _threads_of_children(count: int) -> Iterator[None]:
    """Set how many threads a process computes with that is started inside: torch reads it when it is imported."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Add what this process prints to a file, also what libraries print that are not Python."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        yield
        sys.stdout.flush()
        sys.stderr.flush()
