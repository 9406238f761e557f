"""How many jobs are done at a time, and where: options of commands that train many models."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from trunkline.errors import InvalidConfig
from trunkline.train.jobs.job import Workers
from trunkline.train.jobs.local_workers import LocalWorkers
from trunkline.train.jobs.ray_workers import RayWorkers

Jobs = Annotated[int, Parameter(name="--jobs", help="Runs at a time, each in a process of its own.")]
Ray = Annotated[
    str | None, Parameter(name="--ray", help="Do the runs on this Ray cluster, as auto or ray://HOST:PORT.")
]


def workers_of(jobs: int, ray: str | None) -> Workers:
    """Return what does the runs; each gets its part of the cores, or as many threads as OMP_NUM_THREADS says.

    Raises:
        InvalidConfig: There is to be less than one run at a time.
    """
    if jobs < 1:
        raise InvalidConfig(f"{jobs} runs at a time", place="--jobs", advice="give a whole number from 1 on")
    said = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(said) if said.isdigit() and int(said) else max(1, (os.cpu_count() or 1) // jobs)
    return LocalWorkers(jobs, threads) if ray is None else RayWorkers(ray, jobs, threads)
