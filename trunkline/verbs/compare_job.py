"""One run of a comparison: one way of sharing, with one seed, from the search to a proved ONNX file."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem
from trunkline.files.write import atomic_write, json_bytes
from trunkline.graph.fingerprint import fingerprint
from trunkline.limits import Limits
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.project import Project
from trunkline.pipeline.run_identity import portable
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.lowering.paper_parameters import paper_parameters
from trunkline.supermodel.methods.registry import method_named
from trunkline.train.run_folder.changed_settings import changed_settings, flat
from trunkline.verbs.export import export
from trunkline.verbs.search import SearchResult, search
from trunkline.verbs.train import TrainResult, train

RECORD, SPENT, SETTINGS = "job.json", "spent.json", "settings.json"
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CompareJob:
    """A run to be done; called, it does it.

    Attributes:
        name: What the way of sharing is called in this comparison.
        config: Its pipeline, with its seed.
        out: Its folder.
        limits: What model files may ask for.
        needs: Names of the ways of sharing whose plans, found with the same seed, it reads.
    """

    name: str
    config: PipelineConfig
    out: Path
    limits: Limits
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return title_of(self.name, self.config.seed)

    @property
    def bound(self) -> dict[str, Any]:
        """What the run may not change once it is begun, as plain JSON content; files count by what they hold."""
        pipeline, search = portable(self.config), self.config.search
        own = {key: value for key, value in pipeline.items() if key not in ("search", "export", "bench")}
        decisive = method_named(search.method).decisive(search.options)
        return {**own, "search": {"method": search.method, **decisive}}

    @property
    def digest(self) -> str:
        """Tells whether a record is of these settings, with those that a run may change between two calls."""
        free = self.config.search.options.model_dump(mode="json")
        content = {**self.bound, "options": free, "export": self.config.export.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def changes(self) -> list[Problem]:
        """Return what is set otherwise than when the run began; nothing where it has not begun."""
        begun = read_json(self.out / SETTINGS)
        if begun is None:
            return []
        now = json.loads(json_bytes(self.bound))
        advice = f"use another folder, or set it back to {self.out / SETTINGS}"
        place = f"{self.name}: "
        return changed_settings(flat(begun), flat(now), advice, prefix=place)

    def record(self) -> Json | None:
        """Return what the finished run came to; nothing where it is not finished, or was made with other settings."""
        found = read_json(self.out / RECORD)
        return found if found is not None and found.get("settings") == self.digest else None

    def __call__(self) -> None:
        """Do the run, going on where it stopped, and write its record."""
        project = Project(self.config, self.out, self.limits)
        for note in project.notes:
            sys.stderr.write(f"note: {note}\n")
        # Before the settings are written: a plan that another run has yet to find must not bind this one as "no file".
        project.method.check()
        self.out.mkdir(parents=True, exist_ok=True)
        atomic_write(self.out / SETTINGS, json_bytes(self.bound, indent=2))
        with _spent(self.out, "search", project.compute.device):
            found = search(project)
        with _spent(self.out, "train", project.compute.device):
            trained = train(project, found.found)
        exported = export(project, trained)
        record = {
            "settings": self.digest,
            "name": self.name,
            "method": self.config.search.method,
            "seed": self.config.seed,
            "metrics": trained.metrics,
            "alike": trained.training["alike"],
            "steps": trained.training["steps"],
            # Equal structures are measured once, whatever their weights.
            "structure": fingerprint(trained.graph),
            "parity": exported.parity.passed,
            "file_bytes": exported.file_bytes,
            **_costs(project, found, trained),
            # What a method expected of the plan before any model of it was trained.
            "estimate": trained.plan.provenance.get("estimates"),
            "spent": _read_spent(self.out),
        }
        atomic_write(self.out / RECORD, json_bytes(record, indent=2))


def title_of(name: str, seed: int) -> str:
    """Return what the run of a way of sharing is called in messages."""
    return f"{name} seed {seed}"


def _costs(project: Project, found: SearchResult, trained: TrainResult) -> dict[str, Any]:
    """Return what the model runs and stores, next to one model a task."""
    cost = found.cost
    alone = lower(independent(project.backbone, project.tasks), project.backbone, project.heads)
    own = lower(trained.plan, project.backbone, project.heads)
    return {
        "macs": cost.total.macs,
        "independent_macs": cost.independent.macs,
        "backbone_macs": cost.backbone.macs,
        "parameters": cost.total.parameters,
        "independent_parameters": cost.independent.parameters,
        "paper_parameters": paper_parameters(own),
        "independent_paper_parameters": paper_parameters(alone),
    }


@contextmanager
def _spent(out: Path, stage: str, device: str) -> Iterator[None]:
    """Add up the time of a stage over all attempts that could say it, and note the most memory that it has held.

    Memory is that of the whole process, so that of the libraries is in it; on a GPU it is what torch held there.
    """
    before = _read_spent(out).get(stage, {"seconds": 0.0, "peak_bytes": 0, "done": False})
    started = time.monotonic()
    done = False
    try:
        yield
        done = True
    finally:
        # A stage that was done already is only loaded: that is no time of its own.
        if not before["done"]:
            seconds = before["seconds"] + time.monotonic() - started
            peak_bytes = max(before["peak_bytes"], _peak_bytes(device))
            now = {**_read_spent(out), stage: {"seconds": seconds, "peak_bytes": peak_bytes, "done": done}}
            out.mkdir(parents=True, exist_ok=True)
            atomic_write(out / SPENT, json_bytes(now, indent=2))


def _read_spent(out: Path) -> dict[str, Any]:
    return read_json(out / SPENT) or {}


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a run has written down; nothing where it has not.

    Raises:
        InvalidConfig: It is no JSON object.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        advice = "delete the file; it is written again"
        raise InvalidConfig(f"this is not JSON: {error}", place=str(path), advice=advice) from error
    if not isinstance(found, dict):
        raise InvalidConfig("is not what Trunkline writes", place=str(path), advice="delete it; it is written again")
    return found


def _peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
