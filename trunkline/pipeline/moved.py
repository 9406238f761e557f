"""What older pipeline files say, from before ``[search]`` was a method's and baselines were methods; what to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.errors import InvalidConfig, Problem

_BESIDE = "betas = [0.5, 0.999], weight_decay = 1e-4"
_NUMBERS = {
    "steps": "write `steps = [PRE, POLICY]` under [search], and `steps = POST` under [train]",
    "alternate": "write it under [search] itself",
    "regularization": "write it under [search] itself",
    "loss_weights": "write it under [train]",
    "search_loss_weights": "write `loss_weights` under [search]",
    # What the optimisers had beside a rate is written too: a table without it means the optimiser's own defaults.
    "weight_lr": f"write `optimiser = {{ lr = …, {_BESIDE} }}` under [train], and `pre_optimiser` alike under [search]",
    "search_lr": f"write `weight_optimiser = {{ lr = …, {_BESIDE} }}` under [search]",
    "search_kind": 'write `weight_optimiser = { kind = "…", lr = …, weight_decay = 1e-4 }` under [search]',
    "policy_lr": "write `policy_optimiser = { lr = …, weight_decay = 5e-4 }` under [search]",
    "policy_decay": "write `policy_schedule` under [search]",
    "decay": "write `schedule` under [train], and `weight_schedule` under [search] if it is for the search too",
    "decay_everywhere": "write `weight_schedule` under [search] where the learning rate falls in the search too",
    "joint": "write it under [train], and under [search] for the search",
    "batch_size": "write it under [train]; it is the search's too",
    "eval_every": "write it under [train]; it is the search's too",
    "checkpoint_every": "write it under [train]; it is the search's too",
    "clip_norm": "write it under [train]; it is the search's too",
}
# Only AutoMTL had presets; now other methods have their own, so a preset's name begins with its method.
_PRESETS = {
    "paper-cityscapes": "automtl-paper-cityscapes",
    "paper-nyuv2": "automtl-paper-nyuv2",
    "paper-taskonomy": "automtl-paper-taskonomy",
    "release-cityscapes": "automtl-release-cityscapes",
    "release-nyuv2": "automtl-release-nyuv2",
    "release-taskonomy": "automtl-release-taskonomy",
}
_BASELINES = {"independent": "single-task", "all-shared": "multi-task"}


def refuse_moved_keys(content: Mapping[str, Any], place: str) -> None:
    """Refuse what an older pipeline file has in another place, each key with what to write instead.

    Raises:
        InvalidConfig: There are such keys; all of them at once.

    >>> try:
    ...     refuse_moved_keys({"policy_fraction": 0.2}, "pipeline.toml")
    ... except InvalidConfig as error:
    ...     print(error)
    pipeline.toml: policy_fraction: this key has moved
      write it under [search]
    """
    problems = list(_moved(content))
    if problems:
        before = f"{place}: " if place else ""
        raise InvalidConfig([Problem(item.message, before + item.place, item.advice) for item in problems])


def _moved(content: Mapping[str, Any]) -> Iterator[Problem]:
    # Nothing is checked yet, so every table may be of any type. What is not of the old form is left to the schema.
    if "policy_fraction" in content:
        yield Problem("this key has moved", "policy_fraction", "write it under [search]")
    for table in ("search", "train"):
        inner = content.get(table)
        if not isinstance(inner, Mapping):
            continue
        if "preset" in inner:
            name = _PRESETS.get(str(inner["preset"]), str(inner["preset"]))
            yield Problem("this key has moved", f"{table}.preset", f'write `preset = "{name}"` above all tables')
        yield from _numbers(inner.get("numbers"), table)
        yield from _baselines(inner.get("baselines"), table)
    search = content.get("search")
    options = search.get("options") if isinstance(search, Mapping) else None
    if isinstance(options, Mapping):
        keys = ", ".join(options) or "its keys"
        yield Problem("this table has moved", "search.options", f"write {keys} under [search] itself")


def _numbers(numbers: Any, table: str) -> Iterator[Problem]:
    if not isinstance(numbers, Mapping):
        return
    for key in numbers:
        advice = _NUMBERS.get(key, "see docs/pipeline.md for the keys of [search] and [train]")
        yield Problem("this key has moved", f"{table}.numbers.{key}", advice)


def _baselines(names: Any, table: str) -> Iterator[Problem]:
    if not isinstance(names, list):
        return
    for index, name in enumerate(names):
        if isinstance(name, str) and name in _BASELINES:
            yield Problem(
                f'there is no baseline "{name}"', f"{table}.baselines.{index}", f'it is called "{_BASELINES[name]}"'
            )
