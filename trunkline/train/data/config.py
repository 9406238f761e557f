"""The ``[data]`` table of a configuration: one model per kind of data set, unknown keys rejected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.train.data.base import Kind

Pixels = Annotated[int, Field(ge=8, le=8192)]
Seed = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(gt=0, le=8)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AugmentationConfig(_Table):
    """See :class:`trunkline.train.data.augment.Augmentation`."""

    scale: tuple[Factor, Factor] = (0.5, 1.5)
    mirror: bool = True
    crop_from: Literal["size", "native"] = "size"
    scale_depth: bool = False


class ScenesConfig(_Table):
    """See :class:`trunkline.train.data.scenes.Scenes`.

    ``val_length`` scenes choose, and ``test_length`` report: as many if absent.
    """

    kind: Literal["scenes"]
    size: tuple[Pixels, Pixels] = (64, 96)
    length: Annotated[int, Field(ge=1)] = 1000
    val_length: Annotated[int, Field(ge=1)] = 200
    test_length: Annotated[int, Field(ge=1)] | None = None
    seed: Seed = 0
    tasks: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("segmentation", "depth", "normals")
    cache: bool = True
    supersample: Annotated[int, Field(ge=1, le=4)] = 1


class NYUv2Config(_Table):
    """See :class:`trunkline.train.data.nyuv2.dataset.NYUv2`.

    Without a list "test" the list "val" reports. Without a list that chooses, ``val_fraction`` of the training samples
    are held out for it; 0 holds out none. A folder without lists is cut by ``seed``: ``test_fraction`` reports.
    """

    kind: Literal["nyuv2"]
    path: Path
    size: tuple[Pixels, Pixels] = (480, 640)
    tasks: Annotated[tuple[Literal["segmentation", "depth", "normals"], ...], Field(min_length=1)] = (
        "segmentation",
        "depth",
        "normals",
    )
    classes: Literal[13, 40] = 40
    space: Literal["decoded", "paper"] = "decoded"
    missing: Literal["error", "ignore"] = "error"
    augmentation: AugmentationConfig = AugmentationConfig()
    val_fraction: Fraction = 0.1
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Seed = 0


class FolderConfig(_Table):
    """See :class:`trunkline.train.data.folder.dataset.Folder`.

    Without a split "test" the split "val" reports. Without one that chooses, ``val_fraction`` of the training samples
    are held out for it; 0 holds out none.
    """

    kind: Literal["folder"]
    path: Path
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=255)]
    size: tuple[Pixels, Pixels] = (180, 240)
    values: dict[str, str] | None = None
    ignore: tuple[Annotated[int, Field(ge=0, le=65_535)], ...] = ()
    edges: Literal["boundaries"] | None = None
    augmentation: AugmentationConfig = AugmentationConfig()
    val_fraction: Fraction = 0.1
    seed: Seed = 0


DataConfig = ScenesConfig | NYUv2Config | FolderConfig

_KINDS: dict[str, type[ScenesConfig] | type[NYUv2Config] | type[FolderConfig]] = {
    "scenes": ScenesConfig,
    "nyuv2": NYUv2Config,
    "folder": FolderConfig,
}


def read_data_config(config: Mapping[str, Any], place: str = "data") -> DataConfig:
    """Check a plain mapping, as TOML gives it.

    Args:
        config: The table.
        place: The table's name, for messages.

    Raises:
        InvalidConfig: all unknown keys and wrong values at once.
    """
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        advice = did_you_mean(str(kind), _KINDS) or f"known kinds: {', '.join(_KINDS)}"
        found = "no kind of data set is given" if kind is None else f'unknown kind of data set "{kind}"'
        raise InvalidConfig(found, place=f"{place}.kind", advice=advice)
    model = _KINDS[kind]
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        raise InvalidConfig([_problem(detail, model, place) for detail in error.errors()]) from error


def _problem(detail: Any, model: type[BaseModel], place: str) -> Problem:
    """Turn one of pydantic's findings into a located problem."""
    path = [str(part) for part in detail["loc"]]
    where = ".".join([place, *path])
    if detail["type"] == "extra_forbidden":
        known = AugmentationConfig.model_fields if path[:-1] == ["augmentation"] else model.model_fields
        return Problem("unknown key", where, did_you_mean(path[-1], known) or f"known keys: {', '.join(known)}")
    if detail["type"] == "missing":
        return Problem("this key is needed", where)
    return Problem(f"{detail['input']!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}", where)
