"""A job: work that is done once, in a process of its own, and that goes on where it stopped when it is done again.

A list of jobs is resumed by doing it again: jobs that are done are left out by whoever makes the list, and a job that
was stopped goes on from what it has saved. So whatever happens, at most the job that it happens to is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Attributes:
        name: What it is called in messages; no other job of its list is called so.
        work: Does it. It travels to another process, so it is a function of a module, or a ``partial`` of one.
        log: What the job prints is added to this file.
        after: Names of jobs that have to end before this one begins, if they are in its list.
    """

    name: str
    work: Callable[[], None]
    log: Path
    after: tuple[str, ...] = ()


def take_ready(waiting: list[Job], running: Collection[str]) -> Job | None:
    """Take out of ``waiting`` the first job that waits for none which has not ended, and return it.

    Args:
        waiting: Jobs that have not begun.
        running: Names of jobs that have not ended.

    >>> jobs = [Job("b", print, Path("b.log"), after=("a",)), Job("c", print, Path("c.log"))]
    >>> [job and job.name for job in (take_ready(jobs, ["a"]), take_ready(jobs, ["a"]), take_ready(jobs, []))]
    ['c', None, 'b']
    """
    open_names = {job.name for job in waiting}.union(running)
    for number, job in enumerate(waiting):
        if open_names.isdisjoint(job.after):
            return waiting.pop(number)
    return None


class Show(Protocol):
    """Receives how far a list of jobs is, and shows what it likes of it."""

    def begun(self, name: str) -> None:
        """Take that a job begins."""

    def ended(self, name: str, failure: str) -> None:
        """Take that a job has ended; ``failure`` is empty where it is done."""


class Workers(Protocol):
    """Does jobs, several at a time."""

    def run(self, jobs: Sequence[Job], show: Show) -> Mapping[str, str]:
        """Do all jobs; one that fails does not stop the others.

        Returns:
            Why a job failed, by its name; empty where all are done.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM. The running jobs were told, and have saved what they had.
        """
