"""What verbs that do many jobs are given to do and to show them, and what they say where some failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trunkline.errors import Problem, WorkFailed
from trunkline.train.jobs.local_workers import LocalWorkers
from trunkline.train.progress.job_progress import JobProgress

ONE_AT_A_TIME = LocalWorkers()
Say = Callable[[str], None]
"""Told a sentence when a stage begins."""
ShowJobs = Callable[[int], JobProgress]
"""Gives what is told which job begins and ends, for a number of jobs."""


def failed(failures: Mapping[str, str]) -> WorkFailed:
    """Return the error that says which jobs failed, and why, by their names."""
    advice = "what is done is kept: called again, the command tries again, and goes on from there"
    return WorkFailed([Problem(text, name, advice) for name, text in failures.items()])
