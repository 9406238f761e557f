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
from trunkline.train.jobs.job import Job, Show, take_ready

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
        ray = _connected(self.address)
        # Not tried again by Ray: a job that failed would fail again; one that was stopped goes on when the list does.
        task = ray.remote(num_cpus=self.threads, max_retries=0)(_do)
        waiting, running = list(jobs), dict[Any, str]()
        failures: dict[str, str] = {}
        try:
            while waiting or running:
                while len(running) < self.count and (job := take_ready(waiting, running.values())) is not None:
                    running[task.remote(job)] = job.name
                    show.begun(job.name)
                ended, _ = ray.wait(list(running), num_returns=1)
                name = running.pop(ended[0])
                failure = _result(ray, ended[0])
                if failure:
                    failures[name] = failure
                show.ended(name, failure)
        finally:
            _stop(ray, list(running))
        return failures


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


def _stop(ray: Any, running: Sequence[Any]) -> None:
    """Tell what still runs to save and end, as Ctrl-C would, and wait for it."""
    for reference in running:
        ray.cancel(reference)
    if running:
        ray.wait(running, num_returns=len(running))
    ray.shutdown()
