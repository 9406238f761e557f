"""``demo``: the whole line on generated scenes, in minutes on a CPU."""

from __future__ import annotations

import tomllib
from pathlib import Path

from trunkline.errors import InvalidConfig
from trunkline.files.write import atomic_write
from trunkline.pipeline.config import PipelineConfig, parse_config
from trunkline.verbs.run import RunResult, Say, run

PIPELINE = "pipeline.toml"
"""The demo's pipeline, in its run's folder, for every command that takes one."""

# Small in everything: the demo promises minutes on a CPU.
_TEXT = """\
# The pipeline of `trunkline demo`: three tasks on the small packaged backbone, on generated scenes.
preset = "demo"
backbone = "zoo:tiny"
seed = {seed}
augment = false

[tasks]
segmentation.options = {{ loss_size = "label" }}
depth.options = {{ loss_size = "label" }}
normals.options = {{ loss_size = "label" }}

[data]
kind = "scenes"
size = [64, 96]
length = 400
val_length = 60
tasks = ["segmentation", "depth", "normals"]
seed = {seed}

[search]
regularization = 0.05
cost_weight = 0.1
temperature = {{ start = 5.0, decay = 0.9, every = 8 }}

[train]
steps = 360
eval_every = 360
# Between nothing shared and everything shared, so that the report can draw the whole trade-off.
baselines = ["single-task", "share-until:2", "share-until:4", "multi-task"]

[bench]
samples = 100
limit_s = 20
"""


def demo_text(seed: int = 0) -> str:
    """Return the demo's pipeline as the text of a pipeline file.

    Raises:
        InvalidConfig: The seed is negative.
    """
    # The schema would refuse it too, but as a key of a pipeline file that the user never wrote.
    if seed < 0:
        raise InvalidConfig(f"the seed is {seed}", place="--seed", advice="give a whole number from 0 on")
    return _TEXT.format(seed=seed)


def demo_config(seed: int = 0) -> PipelineConfig:
    """Return the demo's pipeline.

    Raises:
        InvalidConfig: The seed is negative.

    >>> list(demo_config().tasks)
    ['segmentation', 'depth', 'normals']
    """
    return parse_config(tomllib.loads(demo_text(seed)))


def demo(out: Path, *, seed: int = 0, quiet: bool = False, say: Say = lambda _: None) -> RunResult:
    """Run the demo in the folder ``out``, and leave its pipeline file there, to go on with."""
    result = run(demo_config(seed), out, quiet=quiet, say=say)
    atomic_write(out / PIPELINE, demo_text(seed).encode())
    return result
