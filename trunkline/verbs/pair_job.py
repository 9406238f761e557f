"""One training for a two-task table: two tasks that share some blocks, or single-task models of all tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.files.write import atomic_write, json_bytes
from trunkline.limits import Limits
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.project import Project
from trunkline.pipeline.run_identity import portable
from trunkline.sharing.layouts.coarse_blocks import CoarseBlocks
from trunkline.sharing.layouts.merged_backbone import merged_backbone
from trunkline.sharing.layouts.pair_plans import TaskPair
from trunkline.sharing.layouts.plans import independent
from trunkline.verbs.compare_job import read_json
from trunkline.verbs.work import ProjectWork

RECORD = "pair.json"
SINGLE = "single"
"""What the training of single-task models is called."""
Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class PairJob:
    """A training to be done; called, it does it.

    Attributes:
        config: The pipeline, with the seed.
        out: Its folder.
        limits: What model files may ask for.
        blocks: Which of the backbone's blocks are merged.
        pair: The two tasks; ``None`` for single-task models.
    """

    config: PipelineConfig
    out: Path
    limits: Limits
    blocks: CoarseBlocks
    pair: TaskPair | None = None

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"{SINGLE if self.pair is None else self.pair.name} seed {self.config.seed}"

    @property
    def bound(self) -> dict[str, Any]:
        """What the training may not change once it is begun: the pipeline but for what is done with a trained model."""
        content = {
            key: value for key, value in portable(self.config).items() if key not in ("search", "export", "bench")
        }
        # The blocks themselves: by what they were merged may have changed, a cost table for one.
        return {**content, "blocks": [list(run) for run in self.blocks]}

    @property
    def digest(self) -> str:
        """Tells whether a record is of these settings."""
        return hashlib.sha256(json.dumps(self.bound, sort_keys=True).encode()).hexdigest()

    def metrics(self) -> Metrics | None:
        """Return what the finished training came to on the samples that choose; nothing where it is not finished."""
        found = read_json(self.out / RECORD)
        if found is None or found.get("settings") != self.digest:
            return None
        metrics: Metrics = found["metrics"]
        return metrics

    def __call__(self) -> None:
        """Do the training, going on where it stopped, and write its record."""
        project = Project(self.config, self.out, self.limits)
        if self.pair is None:
            plan = independent(project.backbone, project.tasks)
        else:
            plan = merged_backbone(project.backbone, self.blocks).plan(self.pair.layout(len(self.blocks)))
        trained = ProjectWork(project, quiet=True).train(SINGLE if self.pair is None else "pair", plan)
        record: dict[str, Any] = {"settings": self.digest, "metrics": trained.metrics}
        atomic_write(self.out / RECORD, json_bytes(record, indent=2))
