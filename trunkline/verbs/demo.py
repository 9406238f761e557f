"""``demo``: the whole line on generated scenes, in minutes on a CPU."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import PipelineConfig, parse_config
from trunkline.verbs.run import RunResult, Say, run


def demo_config(seed: int = 0) -> PipelineConfig:
    """Return the demo's pipeline: three tasks on the small packaged backbone.

    Raises:
        InvalidConfig: The seed is negative.

    >>> list(demo_config().tasks)
    ['segmentation', 'depth', 'normals']
    """
    # The schema would refuse it too, but as a key of a pipeline file that the user never wrote.
    if seed < 0:
        raise InvalidConfig(f"the seed is {seed}", place="--seed", advice="give a whole number from 0 on")
    # Small in everything: the demo promises minutes on a CPU.
    names = ["segmentation", "depth", "normals"]
    content = {
        "preset": "demo",
        "backbone": "zoo:tiny",
        "seed": seed,
        "tasks": {name: {"options": {"loss_size": "label"}} for name in names},
        "data": {
            "kind": "scenes",
            "size": [64, 96],
            "length": 400,
            "val_length": 60,
            "tasks": names,
            "seed": seed,
        },
        "augment": False,
        "search": {
            "regularization": 0.05,
            "cost_weight": 0.1,
            "temperature": {"start": 5.0, "decay": 0.9, "every": 8},
        },
        "train": {
            "steps": 360,
            "eval_every": 360,
            # Between nothing shared and everything shared, so that the report can draw the whole trade-off.
            "baselines": ["single-task", "share-until:2", "share-until:4", "multi-task"],
        },
        "bench": {"samples": 100, "limit_s": 20},
    }
    return parse_config(content)


def demo(out: Path, *, seed: int = 0, quiet: bool = False, say: Say = lambda _: None) -> RunResult:
    """Run the demo in the folder ``out``."""
    return run(demo_config(seed), out, quiet=quiet, say=say)
