"""``demo``: the whole line on generated scenes, in minutes on a CPU."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import BenchConfig, PipelineConfig, SearchConfig, TaskConfig, TrainConfig
from trunkline.supermodel.methods.automtl import AutoMTLOptions, TemperatureOptions
from trunkline.train.data.sets.scenes import ScenesConfig
from trunkline.verbs.run import RunResult, Say, run


def demo_config(seed: int = 0) -> PipelineConfig:
    """Return the demo's pipeline: three tasks on the small packaged backbone.

    Raises:
        InvalidConfig: The seed is negative.
    """
    if seed < 0:
        raise InvalidConfig(f"the seed is {seed}", place="--seed", advice="give a whole number from 0 on")
    names = ("segmentation", "depth", "normals")
    return PipelineConfig(
        backbone="zoo:tiny",
        seed=seed,
        tasks={name: TaskConfig(options={"loss_size": "label"}) for name in names},
        data=ScenesConfig(kind="scenes", size=(64, 96), length=400, val_length=60, tasks=names, seed=seed),
        augment=False,
        search=SearchConfig(
            preset="demo",
            numbers={"regularization": 0.05},
            cost_weight=0.1,
            options=AutoMTLOptions(temperature=TemperatureOptions(start=5.0, decay=0.9, every=8)),
        ),
        train=TrainConfig(
            numbers={"steps": (40, 120, 360), "eval_every": 360},
            baselines=("independent", "share-until:2", "share-until:4", "all-shared"),
        ),
        bench=BenchConfig(samples=100, limit_s=20),
    )


def demo(out: Path, *, seed: int = 0, quiet: bool = False, say: Say = lambda _: None) -> RunResult:
    """Run the demo in the folder ``out``."""
    return run(demo_config(seed), out, quiet=quiet, say=say)
