"""The same jobs on a Ray cluster, whose machines share a folder with this one."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.errors import WorkFailed
from trunkline.train.jobs.child import failure_of
from trunkline.train.jobs.job import Job, Show
from trunkline.train.jobs.job_list import do_all

LOCAL = "local"
"""The address that starts a cluster on this machine."""


@dataclass(frozen=True, slots=True)
class RayWorkers:
    """Workers of a Ray cluster.

    Attributes:
        address: Of the cluster, such as ``auto`` or ``ray://HOST:10001``; ``local`` starts one of this machine alone.
        count: How many jobs run at a time.
        threads: Cores that each of them is given, and threads that it computes with.
    """

    address: str
    count: int
    threads: int = 1

    def run(self, jobs: Sequence[Job], show: Show) -> dict[str, str]:
        """Do all jobs; see :class:`~trunkline.train.jobs.job.Workers`.

        Raises:
            WorkFailed: Ray is not installed, or the cluster does not answer.
        """
        return do_all(_Tasks(_connected(self.address), self.threads), jobs, self.count, show)


class _Tasks:
    """Jobs that run now, each a task of the cluster with so many cores."""

    def __init__(self, ray: Any, threads: int) -> None:
        self._ray = ray
        # Not tried again by Ray: a job that failed would fail again; one that was stopped goes on when the list does.
        self._task = ray.remote(num_cpus=threads, max_retries=0)(_do)
        self._running: dict[Any, str] = {}

    def begin(self, job: Job) -> None:
        """Hand the job to the cluster."""
        self._running[self._task.remote(job)] = job.name

    def ended(self) -> dict[str, str]:
        """Wait until a job has ended."""
        references, _ = self._ray.wait(list(self._running), num_returns=1)
        return {self._running.pop(each): _result(self._ray, each) for each in references}

    def stop(self) -> None:
        """Tell what still runs to save and end, as Ctrl-C would, and wait for it."""
        running = list(self._running)
        for reference in running:
            self._ray.cancel(reference)
        if running:
            self._ray.wait(running, num_returns=len(running))
        self._ray.shutdown()


def _do(job: Job) -> str:
    """Do a job in a process of the cluster; return why it failed, or an empty text."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        return failure_of(job)


def _connected(address: str) -> Any:
    """Return the module of Ray, connected to a cluster."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        text, advice = "Ray is not installed", "pip install 'trunkline[ray]', or leave --ray out"
        raise WorkFailed(text, place="--ray", advice=advice) from error
    # Nothing here reports how it is used.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**where, log_to_driver=False, configure_logging=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        advice = "start one by `ray start --head`, or write `--ray local`"
        raise WorkFailed(f"the cluster does not answer: {error}", place=f"--ray {address}", advice=advice) from error
    return ray


def _result(ray: Any, reference: Any) -> str:
    """Return why a job failed; its process may be gone, too."""
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError as error:
        # Ray gives a traceback, whose last line says what happened.
        return f"{type(error).__name__}: {str(error).strip().splitlines()[-1].strip()}"
