"""The pipeline file: one TOML that says everything about a run. Unknown keys are refused with a guess."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
)

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.files.read import read_own
from trunkline.fragments.heads.make_head import KINDS
from trunkline.sharing.baselines import PATTERN
from trunkline.supermodel.methods.automtl import AutoMTLOptions
from trunkline.train.data.config import DataSetConfig
from trunkline.train.data.open import data_set_kinds, read_data_config
from trunkline.train.data.sets.scenes import ScenesConfig
from trunkline.train.schedule.presets import Preset, preset

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
T = TypeVar("T")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskConfig(_Table):
    """``[tasks.NAME]``: a task of the data set, its head and its loss.

    Attributes:
        head: ``light``, ``aspp``, ``deeplabv3plus``, ``fpn``, ``linear`` or a model file; the pipeline's if absent.
        weight: λ of its loss; the preset's if absent.
        options: Of the task's kind, such as ``{space = "paper"}`` for normals.
    """

    head: str | None = None
    weight: Share | None = None
    options: dict[str, Any] = {}


class SearchConfig(_Table):
    """``[search]``: how the sharing is found.

    Attributes:
        method: Search method.
        preset: Named numbers, see ``docs/presets.md``.
        numbers: Numbers of the preset to replace, such as ``{steps = [100, 300, 500]}``.
        cost_weight: λ of the expected executed cost; 0 is the papers'.
        options: The method's own.
    """

    method: Literal["automtl"] = "automtl"
    preset: str = "small"
    numbers: dict[str, Any] = {}
    cost_weight: Share = 0.0
    options: AutoMTLOptions = AutoMTLOptions()


def _baseline(name: str) -> str:
    if not re.fullmatch(PATTERN, name):
        raise ValueError(f"{name!r} is no baseline; known are 'independent', 'all-shared' and 'share-until:BLOCK'")
    return name


BaselineName = Annotated[str, AfterValidator(_baseline)]


class TrainConfig(_Table):
    """``[train]``: how the found model is trained.

    Attributes:
        preset: Named numbers; the search's if absent.
        numbers: Numbers of the preset to replace.
        start: ``scratch`` starts as the backbone and its weights say, and draws the rest anew, heads too (AutoMTL);
            ``search`` goes on from the supermodel's.
        baselines: Models trained alike, to compare with: ``independent``, ``all-shared``, and ``share-until:BLOCK`` for
            any block, by name or number.
        best_by: Keep the weights that were best in this: ``TASK.METRIC`` or ``relative``; the last ones if absent.
    """

    preset: str | None = None
    numbers: dict[str, Any] = {}
    start: Literal["scratch", "search"] = "scratch"
    baselines: tuple[BaselineName, ...] = ()
    best_by: str | None = None


class ExportConfig(_Table):
    """``[export]``: how the file is written."""

    fold: bool = True
    parity_inputs: Count = 32


class BenchConfig(_Table):
    """``[bench]``: how latency is measured."""

    runtime: Literal["onnxruntime", "torch"] = "onnxruntime"
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    threads: Count = 1
    batch: Count = 1
    spinning: bool = False
    samples: Annotated[int, Field(ge=11)] = 100
    limit_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0


def _data_table(value: Any) -> DataSetConfig:
    """Check a ``[data]`` table whose kind is known by the model of its kind."""
    if isinstance(value, DataSetConfig):
        return value
    kind = data_set_kinds().get(str(value.get("kind"))) if isinstance(value, dict) else None
    if kind is None:
        raise ValueError(f"expected a table with a `kind`: {' or '.join(data_set_kinds())}")
    return kind.model_validate_json(json.dumps(value, default=str), strict=True)


DataTable = Annotated[SerializeAsAny[DataSetConfig], PlainValidator(_data_table)]
"""Not a union of models: a kind of data set may be added after this file is read."""


class PipelineConfig(_Table):
    """A whole run.

    Attributes:
        backbone: Model file, relative to the pipeline file, or ``zoo:NAME``.
        input_size: Height and width; the data set's if absent.
        backbone_weights: A caffemodel or safetensors file, relative to the pipeline file, that the backbone and
            every copy of it start from.
        allow_missing: What ``backbone_weights`` lacks starts as the backbone says, instead of being an error.
        features: Names of the feature maps that the heads read; found if none are named.
        head: Default head of every task.
        seed: Of everything random.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32`` or ``bfloat16``.
        policy_fraction: Share of the training data that only trains the policy.
        augment: Whether training images are augmented.
        tasks: Tasks by name, in output order; all of the data set's if empty.
    """

    backbone: str = "zoo:tiny"
    backbone_weights: str | None = None
    allow_missing: bool = False
    input_size: tuple[Count, Count] | None = None
    features: tuple[str, ...] = ()
    head: str = "light"
    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    policy_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    augment: bool = True
    tasks: dict[str, TaskConfig] = {}
    data: DataTable = ScenesConfig(kind="scenes")
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    bench: BenchConfig = BenchConfig()


def load_config(path: Path) -> PipelineConfig:
    """Read a pipeline file. Relative paths in it are relative to its folder.

    Raises:
        InvalidConfig: It cannot be read, or holds unknown keys or wrong values; all of them at once.
    """
    try:
        content = tomllib.loads(read_own(path, "pipeline file").decode())
    except (ValueError, RecursionError) as error:  # also from text that is not UTF-8, and from endless numbers
        raise InvalidConfig(f"this is not TOML: {error}", place=str(path)) from error
    return _anchored(parse_config(content, str(path)), path.parent)


def parse_config(content: dict[str, Any], place: str = "") -> PipelineConfig:
    """Check a plain mapping, as TOML gives it."""
    if isinstance(content.get("data"), dict):
        read_data_config(content["data"], f"{place}: data" if place else "data")
    try:
        # Through JSON, whose strict mode takes a list for a tuple but neither true nor "3" for a number.
        config = PipelineConfig.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        raise InvalidConfig([_problem(item, place) for item in error.errors()]) from error
    _placed(lambda: [search_numbers(config), train_numbers(config)], f"{place}: " if place else "")
    return config


def search_numbers(config: PipelineConfig) -> Preset:
    """Return the numbers of the search phases.

    Raises:
        InvalidConfig: An unknown preset or number, or a number out of range.
    """
    return _placed(lambda: preset(config.search.preset, config.search.numbers), "search.")


def train_numbers(config: PipelineConfig) -> Preset:
    """Return the numbers of the final training: its own preset's, or else the search's with its changes.

    Raises:
        InvalidConfig: As :func:`search_numbers`.
    """
    search, train = config.search, config.train
    if train.preset is not None:
        return _placed(lambda: preset(train.preset or "", train.numbers), "train.")
    return _placed(lambda: preset(search.preset, {**search.numbers, **train.numbers}), "train.")


def _placed(make: Callable[[], T], before: str) -> T:
    """Return what ``make`` makes; its errors' places begin with ``before``."""
    try:
        return make()
    except InvalidConfig as error:
        raise InvalidConfig([replace(item, place=before + item.place) for item in error.problems]) from error


def _problem(item: Any, place: str) -> Problem:
    path = [str(part) for part in item["loc"]]
    where = f"{place}: {'.'.join(path)}" if place else ".".join(path)
    if item["type"] == "extra_forbidden":
        known = _fields_at(path[:-1])
        return Problem("unknown key", where, did_you_mean(path[-1], known) or f"known keys: {', '.join(known)}")
    if item["type"] == "value_error":  # keys that do not go together: their rule says it all
        return Problem(item["msg"].removeprefix("Value error, "), where)
    return Problem(f"{item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}", where)


def _fields_at(path: list[str]) -> list[str]:
    """Return the keys that the table at ``path`` may hold."""
    model: type[BaseModel] = PipelineConfig
    for part in path:
        field = model.model_fields.get(part)
        inner = _models_in(field.annotation) if field is not None else []
        if inner:
            model = inner[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _anchored(config: PipelineConfig, folder: Path) -> PipelineConfig:
    """Return ``config`` with absolute paths, so that it means the same from every working directory."""
    changes: dict[str, Any] = {"head": _anchored_head(config.head, folder)}
    if not config.backbone.startswith("zoo:"):
        changes["backbone"] = str((folder / config.backbone).absolute())
    if config.backbone_weights is not None:
        changes["backbone_weights"] = str((folder / config.backbone_weights).absolute())
    options = config.search.options
    if options.cost_table is not None:
        options = options.model_copy(update={"cost_table": (folder / options.cost_table).absolute()})
        changes["search"] = config.search.model_copy(update={"options": options})
    changes["data"] = config.data.anchored(folder)
    changes["tasks"] = {
        name: task.model_copy(update={"head": task.head and _anchored_head(task.head, folder)})
        for name, task in config.tasks.items()
    }
    return config.model_copy(update=changes)


def _anchored_head(head: str, folder: Path) -> str:
    return head if head in KINDS or not (folder / head).is_file() else str((folder / head).absolute())
