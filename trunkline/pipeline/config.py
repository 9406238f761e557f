"""The pipeline file: one TOML that says everything about a run. Unknown keys are refused with a guess."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError

from trunkline.errors import InvalidConfig, Problem, problems_of
from trunkline.files.read import read_own
from trunkline.fragments.heads.make_head import head_kinds
from trunkline.pipeline.inner_tables import over_defaults
from trunkline.pipeline.kind_tables import READERS, SearchConfig, read_kind_tables
from trunkline.pipeline.moved import refuse_moved_keys
from trunkline.pipeline.preset import with_preset
from trunkline.pipeline.tables import (
    BenchConfig,
    BranchingConfig,
    Count,
    ExportConfig,
    TaskConfig,
    TrainConfig,
)
from trunkline.pipeline.variants import Variant, read_variants
from trunkline.supermodel.methods.registry import baseline_named
from trunkline.train.data.config import ConfigTable, DataSetConfig
from trunkline.train.data.sets.scenes import ScenesConfig


class PipelineConfig(ConfigTable):
    """A whole run.

    Attributes:
        preset: Name of a preset whose numbers count where the file says nothing; see ``docs/presets.md``.
        backbone: Model file, relative to the pipeline file, or ``zoo:NAME``.
        input_size: Height and width of images in pixels; the data set's if absent.
        backbone_weights: A caffemodel or safetensors file, relative to the pipeline file, that the backbone and
            every copy of it start from.
        allow_missing: What ``backbone_weights`` lacks starts as the backbone says, instead of being an error.
        features: Names of the feature maps that the heads read; found if none are named.
        branching: Where tasks may part.
        head: Default head of every task.
        seed: Decides everything random: initial weights, batches, augmentation, generated data.
        device: Where the run trains: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: Number format in training: ``float32``, or ``bfloat16`` by torch's autocast.
        augment: Whether training images are augmented.
        tasks: Tasks by name, in output order; all of the data set's if empty.
        data: The data set, as its kind describes it.
        search: The method that decides who shares what, and its options.
        train: How the model is trained, and the baselines with it.
        export: How the model file is written.
        bench: How latency is measured.
        variants: What ``compare`` may put beside each other, by name.

    Everything has a default, so that an empty file is a pipeline too:

    >>> config = PipelineConfig()
    >>> config.backbone, config.data.kind, config.search.method, config.train.steps
    ('zoo:tiny', 'scenes', 'automtl', 2000)
    """

    preset: str | None = None
    backbone: str = "zoo:tiny"
    backbone_weights: str | None = None
    allow_missing: bool = False
    input_size: tuple[Count, Count] | None = None
    features: tuple[str, ...] = ()
    branching: BranchingConfig = BranchingConfig()
    head: str = "light"
    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    augment: bool = True
    tasks: dict[str, TaskConfig] = Field(default_factory=dict)
    # By their own classes when they are written down: by the base class, no key of a kind would be kept.
    data: SerializeAsAny[DataSetConfig] = ScenesConfig(kind="scenes")
    search: SearchConfig = SearchConfig.of()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    bench: BenchConfig = BenchConfig()
    variants: dict[str, Variant] = Field(default_factory=dict)


def load_config(path: Path) -> PipelineConfig:
    """Read a pipeline file. Relative paths in it are relative to its folder.

    Raises:
        InvalidConfig: It cannot be read, or holds unknown keys or wrong values; all of them at once.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "pipeline.toml"
    ...     _ = path.write_text('backbone = "nets/resnet34.prototxt"')
    ...     load_config(path).backbone == f"{folder}/nets/resnet34.prototxt"
    True
    """
    try:
        content = tomllib.loads(read_own(path, "pipeline file").decode())
    except (ValueError, RecursionError) as error:  # also from text that is not UTF-8, and from endless numbers
        raise InvalidConfig(f"this is not TOML: {error}", place=str(path)) from error
    return _anchored(parse_config(content, str(path)), path.parent)


def parse_config(content: Mapping[str, Any], place: str = "") -> PipelineConfig:
    """Check a plain mapping, as TOML gives it.

    Raises:
        InvalidConfig: Unknown keys, wrong values, or keys of an older form; all of them at once.

    >>> config = parse_config({"train": {"steps": 100, "baselines": ["single-task", "share-until:2"]}})
    >>> config.train.steps, config.train.baselines
    (100, ('single-task', 'share-until:2'))
    >>> try:
    ...     parse_config({"train": {"step": 100}}, "pipeline.toml")
    ... except InvalidConfig as error:
    ...     print(error)
    pipeline.toml: train.step: unknown key
      did you mean "steps"?
    """
    # Before anything else: otherwise the keys of an older file would be called unknown, with a guess that is wrong.
    refuse_moved_keys(content, place)
    try:
        content = over_defaults(with_preset(content))
    except InvalidConfig as error:
        raise InvalidConfig(_located(error.problems, place)) from error
    # What these tables may hold is for the kind of data set and for the method to say; the rest is checked here.
    tables, problems = read_kind_tables(content)
    variants, more = read_variants(content)
    problems = _located([*problems, *more], place)
    rest = {key: value for key, value in content.items() if key not in READERS and key != "variants"}
    try:
        # Through JSON, whose strict mode takes a list for a tuple but neither true nor "3" for a number.
        # TOML has dates and times, JSON has not: as text they reach pydantic, which reports what it expected instead.
        config = PipelineConfig.model_validate_json(json.dumps(rest, default=str), strict=True)
    except ValidationError as error:
        raise InvalidConfig([*problems, *problems_of(error, PipelineConfig, place)]) from error
    if problems:
        raise InvalidConfig(problems)
    return config.model_copy(update={**tables, "variants": variants})


def _located(problems: Sequence[Problem], place: str) -> list[Problem]:
    """Return ``problems`` with the file ``place`` before the keys that they name."""
    before = f"{place}: " if place else ""
    return [replace(item, place=before + item.place) for item in problems]


def _anchored(config: PipelineConfig, folder: Path) -> PipelineConfig:
    """Return ``config`` with absolute paths, so that it means the same from every working directory."""
    changes: dict[str, Any] = {"head": _anchored_head(config.head, folder)}
    # absolute(), not resolve(): a link keeps the name that the user gave it, in messages and in the run's records.
    if not config.backbone.startswith("zoo:"):
        changes["backbone"] = str((folder / config.backbone).absolute())
    if config.backbone_weights is not None:
        changes["backbone_weights"] = str((folder / config.backbone_weights).absolute())
    options = config.search.options.anchored(folder)
    changes["search"] = config.search.model_copy(update={"options": options})
    baselines = _anchored_baselines(config.train.baselines, folder)
    changes["train"] = config.train.model_copy(update={"baselines": baselines})
    changes["variants"] = {name: variant.anchored(folder) for name, variant in config.variants.items()}
    changes["data"] = config.data.anchored(folder)
    changes["tasks"] = {name: _anchored_task(task, folder) for name, task in config.tasks.items()}
    return config.model_copy(update=changes)


def _anchored_task(task: TaskConfig, folder: Path) -> TaskConfig:
    if task.head is None:
        return task
    return task.model_copy(update={"head": _anchored_head(task.head, folder)})


def _anchored_head(head: str, folder: Path) -> str:
    if head in head_kinds():
        return head  # a kind comes first, even where a file beside the pipeline is called like it
    path = folder / head
    # What is no file may be a misspelt kind. It stays as it was written, so that the error shows the user's own word.
    return str(path.absolute()) if path.is_file() else head


def _anchored_baselines(baselines: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Return baselines whose files, as of ``plan:FILE``, are named by absolute paths."""
    found: list[str] = []
    for text in baselines:
        method, options = baseline_named(text)
        path = options.paths.get(method.argument)
        found.append(text if path is None else f"{method.name}:{(folder / path).absolute()}")
    return tuple(found)
