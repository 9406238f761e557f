"""What one method finds on generated scenes, as one small picture."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from trunkline.files.write import atomic_write
from trunkline.pipeline.config import parse_config
from trunkline.pipeline.project import Project
from trunkline.report.document import write_report
from trunkline.supermodel.methods.base import Method
from trunkline.supermodel.methods.registry import methods
from trunkline.verbs.search import search
from trunkline.verbs.train import train

PIPELINE: Mapping[str, Any] = {
    "backbone": "zoo:tiny",
    "seed": 1,
    "tasks": {name: {"options": {"loss_size": "label"}} for name in ("segmentation", "depth", "normals")},
    "data": {"kind": "scenes", "size": [32, 48], "length": 256, "val_length": 32},
    "train": {"steps": 200, "batch_size": 4, "eval_every": 200, "baselines": []},
}
"""As small as still shows something: minutes for each method on one core."""
SHORTER = 5
"""How many times as short as by default searches are, and how many times as fast policies learn to make up for it."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "automtl": {"regularization": 0.05, "cost_weight": 0.1, "temperature": {"start": 5.0, "decay": 0.9, "every": 8}},
    "learn-to-branch": {"rate_factor": 30.0 * SHORTER},
    "adashare": {"draws": 1},
    "share-until": {"block": "4"},
    "layout": {"file": str(Path(__file__).with_name("layout.json"))},
    "random": {"macs": 0.6},
    "treemtl": {"max_models": 2.0},
    "what-to-share": {"max_models": 2.0},
}
"""What else differs from a method's own defaults; a method that is not here keeps them."""
FOUND = ("shares.png", "joins.png", "policy.png", "tree.png", "sharing.png", "correlation.png")
"""Pictures of a report that show what a method finds."""
COLOURS = (256, 128, 64, 32)
MOST_BYTES = 56_000
"""Pages load many pictures; the first of the numbers of colours that keeps this is taken."""


def drawn_methods() -> list[str]:
    """Return the methods that need to be told no more than :data:`OPTIONS` says: all but one that reads any plan."""
    return [name for name, kind in methods().items() if _required(kind) <= OPTIONS.get(name, {}).keys()]


def _required(kind: type[Method[Any]]) -> set[str]:
    return {key for key, field in kind.Options.model_fields.items() if field.is_required()}


def short_options(name: str) -> dict[str, Any]:
    """Return what makes a method's search short.

    >>> short_options("bmtas")["steps"], short_options("automtl")["steps"], short_options("cross-stitch")
    (400, (100, 300), {})
    """
    found: dict[str, Any] = {}
    for key, field in methods()[name].Options.model_fields.items():
        default = field.default
        if key in ("steps", "warm_up") and isinstance(default, int):
            found[key] = default // SHORTER
        elif key == "steps" and isinstance(default, tuple):
            found[key] = tuple(steps // SHORTER for steps in default)
        elif key == "policy_optimiser":
            found[key] = {**default.model_dump(), "lr": default.lr * SHORTER}
    return found


def draw_found(name: str, run: Path, out: Path) -> Path:
    """Let a method find what it finds, in the folder ``run``, and write ``NAME.png`` into ``out``."""
    options = {**short_options(name), **OPTIONS.get(name, {})}
    config = parse_config({**PIPELINE, "search": {"method": name, **options}})
    project = Project(config, run)
    found = search(project, quiet=True).found
    # Where columns are joined, how much of each other they take is trained, not searched.
    if found.plan.joins:
        train(project, found, quiet=True)
    drawn = {path.name: path for path in write_report(run).pictures}
    content = stacked([drawn[picture] for picture in chosen(list(drawn))])
    path = out / f"{name}.png"
    atomic_write(path, content)
    return path


def chosen(names: list[str]) -> list[str]:
    """Return the pictures that show what was found, one of each kind.

    >>> chosen(["sharing.png", "tree.png", "policy.png", "losses.png"])
    ['policy.png', 'tree.png']
    >>> chosen(["sharing.png", "joins.png", "shares.png"])
    ['shares.png', 'joins.png']
    """
    found = [name for name in FOUND if name in names]
    # A tree, or columns with their joins, say what the table of the plan would say again.
    tells_all = {"tree.png", "joins.png"} & set(found)
    return [name for name in found if name != "sharing.png" or not tells_all]


def stacked(pictures: list[Path]) -> bytes:
    """Return pictures below each other as one PNG of few colours, which is several times smaller."""
    parts = [Image.open(path).convert("RGB") for path in pictures]
    whole = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    for colours in COLOURS:
        content = BytesIO()
        whole.quantize(colours, dither=Image.Dither.NONE).save(content, format="png", optimize=True)
        if content.tell() <= MOST_BYTES:
            break
    return content.getvalue()
