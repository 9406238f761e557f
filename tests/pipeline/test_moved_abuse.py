"""Pipeline files of the older form: refused, every key with what to write instead."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from commands import PIPELINE, invoke, refused

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import parse_config
from trunkline.pipeline.preset import presets
from trunkline.supermodel.methods.automtl import AutoMTLOptions

pytestmark = pytest.mark.abuse

TINY = """\
backbone = "zoo:tiny"
seed = 3

[tasks.segmentation]
[tasks.depth]

[data]
kind = "scenes"
size = [32, 48]
length = 16
val_length = 2
tasks = ["segmentation", "depth"]

[search]
preset = "demo"
numbers = { steps = [2, 4, 4], alternate = [1, 1], batch_size = 2, eval_every = 4, checkpoint_every = 2 }

[export]
parity_inputs = 2

[bench]
samples = 11
limit_s = 0.05
"""
NYUV2 = """\
backbone = "deeplab_resnet34_adashare.prototxt"
policy_fraction = 0.25

[data]
kind = "nyuv2"
path = "nyuv2"

[search]
preset = "small"
cost_weight = 0.1
numbers = { steps = [40, 120, 300], batch_size = 4, regularization = 0.02, policy_lr = 0.1 }
[search.options]
temperature = { start = 5.0, decay = 0.9, every = 8 }
"""
TRAIN = """\
[train]
preset = "paper-nyuv2"
numbers = { weight_lr = 0.1 }
baselines = ["independent", "all-shared"]
"""
NUMBERS = {
    "steps": ("[2, 4, 4]", ("steps = [PRE, POLICY]", "steps = POST", "[search]", "[train]")),
    "alternate": ("[1, 1]", ("[search]",)),
    "regularization": ("0.1", ("[search]",)),
    "loss_weights": ("{ depth = 2.0 }", ("[train]",)),
    "search_loss_weights": ("{ depth = 2.0 }", ("`loss_weights` under [search]",)),
    "weight_lr": ("0.1", ("optimiser = { lr = …", "[train]", "pre_optimiser", "[search]", "weight_decay = 1e-4")),
    "search_lr": ("0.1", ("weight_optimiser = { lr = …", "[search]", "betas = [0.5, 0.999]")),
    "search_kind": ('"sgd"', ('weight_optimiser = { kind = "…"', "[search]")),
    "policy_lr": ("0.1", ("policy_optimiser = { lr = …, weight_decay = 5e-4 }", "[search]")),
    "policy_decay": ('{ kind = "poly" }', ("policy_schedule", "[search]")),
    "decay": ('{ kind = "poly" }', ("`schedule` under [train]", "`weight_schedule` under [search]")),
    "decay_everywhere": ("true", ("weight_schedule", "[search]")),
    "joint": ("false", ("[train]", "[search]")),
    "batch_size": ("2", ("[train]", "search's too")),
    "eval_every": ("2", ("[train]", "search's too")),
    "checkpoint_every": ("2", ("[train]", "search's too")),
    "clip_norm": ("1.0", ("[train]", "search's too")),
}
"""Every key that ``numbers`` had, with a value, and what the advice names."""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "old.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_old_files_are_refused_by_key(tmp_path: Path) -> None:
    """With exit code 2, before anything is written."""
    keys = ("steps", "alternate", "batch_size", "eval_every", "checkpoint_every")
    said = invoke("run", file(tmp_path, TINY), "--out", "run", "--quiet")
    refused(said, 'old.toml: search.preset: this key has moved\n  write `preset = "demo"` above all tables')
    refused(said, *(f"old.toml: search.numbers.{key}: this key has moved" for key in keys))
    assert said.err.count("this key has moved") == 1 + len(keys)
    assert not Path("run").exists()


def test_old_examples_are_refused_by_key(tmp_path: Path) -> None:
    """Keys of the top level and of the options' table too."""
    said = invoke("search", file(tmp_path, NYUV2), "--out", "run", "--quiet")
    refused(said, "policy_fraction: this key has moved\n  write it under [search]")
    refused(said, "search.options: this table has moved\n  write temperature under [search] itself")
    refused(said, *(f"search.numbers.{key}" for key in ("steps", "batch_size", "regularization", "policy_lr")))
    assert said.err.count(" has moved") == 7


@pytest.mark.parametrize("table", ["search", "train"])
@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_a_new_place(key: str, table: str, tmp_path: Path) -> None:
    """What the advice names is what the file takes now."""
    value, advice = NUMBERS[key]
    said = invoke("run", file(tmp_path, f"[{table}]\nnumbers = {{ {key} = {value} }}\n"), "--out", "run")
    refused(said, f"{table}.numbers.{key}: this key has moved", *advice)


@pytest.mark.parametrize("name", ["cityscapes", "nyuv2", "taskonomy"])
@pytest.mark.parametrize("source", ["paper", "release"])
def test_presets_are_told_by_their_new_name(source: str, name: str) -> None:
    """And that name is a preset."""
    with pytest.raises(InvalidConfig, match=f'write `preset = "automtl-{source}-{name}"` above all tables'):
        parse_config({"search": {"preset": f"{source}-{name}"}})
    assert f"automtl-{source}-{name}" in presets()


def test_training_of_its_own_is_told(tmp_path: Path) -> None:
    """The tables' own keys come first; baselines by their old names are told when those are mended."""
    said = invoke("run", file(tmp_path, TRAIN), "--out", "run", "--quiet")
    refused(said, "train.preset: this key has moved", "train.numbers.weight_lr: this key has moved")


@pytest.mark.parametrize(("old", "new"), [("independent", "single-task"), ("all-shared", "multi-task")])
def test_baselines_are_told_by_their_new_name(old: str, new: str, tmp_path: Path) -> None:
    """Where the name stands in the list."""
    said = invoke("run", file(tmp_path, f'[train]\nbaselines = ["multi-task", "{old}"]\n'), "--out", "run")
    refused(said, "train.baselines.1", old, f'it is called "{new}"')


@pytest.mark.parametrize("key", ["cost", "mixing", "sampling", "temperature", "slope", "batchnorm"])
def test_options_are_keys_of_the_search(key: str, tmp_path: Path) -> None:
    """All that was under ``[search.options]`` is a key of ``[search]`` now."""
    said = invoke("run", file(tmp_path, f"[search.options]\n{key} = 1\n"), "--out", "run")
    refused(said, f"write {key} under [search] itself")
    assert key in AutoMTLOptions.model_fields


def test_only_old_keys_have_moved() -> None:
    """What is written today passes, whatever is in the tables."""
    parse_config(tomllib.loads(PIPELINE))
    for content in ({"search": 3}, {"search": {"numbers": 3}}, {"train": {"numbers": []}}, {"search": []}):
        with pytest.raises(InvalidConfig) as caught:
            parse_config(content)
        assert "moved" not in str(caught.value)
