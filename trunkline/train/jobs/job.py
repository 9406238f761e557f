"""A job: work that is done once, in a process of its own, and that goes on where it stopped when it is done again.

A list of jobs is resumed by doing it again: jobs that are done are left out by whoever makes the list, and a job that
was stopped goes on from what it has saved. So whatever happens, at most the job that it happens to is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """

    name: str
    work: Callable[[], None]
    log: Path


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
