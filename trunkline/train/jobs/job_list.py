"""Doing a list of jobs, a few at a time, with whatever can begin one and wait for the next that ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trunkline.train.jobs.job import Job, Show, take_ready


class Pool(Protocol):
    """Jobs that run now."""

    def begin(self, job: Job) -> None:
        """Begin a job."""

    def ended(self) -> dict[str, str]:
        """Wait until a job has ended; return why it failed by the name of each that has, empty where it is done."""

    def stop(self) -> None:
        """Ask what still runs to save and end, and wait for it."""


def do_all(pool: Pool, jobs: Sequence[Job], count: int, show: Show) -> dict[str, str]:
    """Do jobs, at most ``count`` at a time; one that fails does not stop the others. Return why each failed one did."""
    waiting, running = list(jobs), set[str]()
    failures: dict[str, str] = {}
    try:
        while waiting or running:
            while len(running) < count and (job := take_ready(waiting, running)) is not None:
                pool.begin(job)
                running.add(job.name)
                show.begun(job.name)
            for name, failure in pool.ended().items():
                running.discard(name)
                if failure:
                    failures[name] = failure
                show.ended(name, failure)
    finally:
        pool.stop()
    return failures
