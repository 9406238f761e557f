"""What makes a run that run, wherever its files lie: its pipeline without paths, and digests of its model files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.graph.fingerprint import fingerprint, weights_fingerprint
from trunkline.graph.graph import Graph
from trunkline.pipeline.config import PipelineConfig
from trunkline.sharing.backbone import Backbone


def portable(config: PipelineConfig) -> dict[str, Any]:
    """Return a pipeline with names for paths, so that files may move and equal inputs give equal bytes.

    >>> from trunkline.pipeline.config import parse_config
    >>> portable(parse_config({"backbone": "/home/me/resnet34.onnx"}))["backbone"]
    'resnet34.onnx'
    """
    # What else could be compared says nothing about this run.
    content = config.model_dump(mode="json", exclude={"variants"})
    _shorten(content, "backbone", "backbone_weights", "head")
    for table in content["tasks"].values():
        _shorten(table, "head")
    options = content["search"]["options"]
    for key, path in config.search.options.paths.items():
        options[key] = path.name
    # Behind the colon there may be a path.
    content["train"]["baselines"] = [name.partition(":")[0] for name in content["train"]["baselines"]]
    for key in config.data.paths:
        del content["data"][key]  # its folder may have any name: what it holds is compared
    return content


def contents(backbone: Backbone, heads: Mapping[str, Graph]) -> dict[str, Any]:
    """Return digests of a backbone and of heads by task, of which a pipeline holds only the file names."""
    return {
        "backbone": {"structure": backbone.fingerprint, "weights": weights_fingerprint(backbone.graph)},
        "heads": {name: fingerprint(head) + weights_fingerprint(head) for name, head in heads.items()},
    }


def _shorten(table: dict[str, Any], *keys: str) -> None:
    """Replace paths in a table by the names of their files; what is absent stays so."""
    for key in keys:
        if table[key]:
            table[key] = Path(table[key]).name
