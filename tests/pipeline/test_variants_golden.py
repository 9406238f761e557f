"""`[variants.NAME]`: what a variant says is laid over what the file says of its method, and all else stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import load_config, parse_config
from trunkline.pipeline.one_variant import variant_named, with_variant
from trunkline.pipeline.run_identity import portable

pytestmark = pytest.mark.golden

CONTENT = {
    "search": {"method": "automtl", "steps": [3, 5], "regularization": 0.5, "policy_optimiser": {"lr": 0.2}},
    "train": {"steps": 7, "optimiser": {"lr": 0.01}, "baselines": ["multi-task"]},
    "variants": {
        "bmtas": {"steps": 11, "warm_up": 4},
        "cold": {"method": "bmtas", "warm_up": 0},
        "no-reg": {"method": "automtl", "regularization": 0.0, "policy_optimiser": {"weight_decay": 0.0}},
        "fine-tuned": {"method": "automtl", "train": {"start": "search", "optimiser": {"weight_decay": 0.0}}},
    },
}


def test_a_variant_of_the_searchs_method() -> None:
    """It has the options of `[search]`, also of an inner table, but for those that it names."""
    options = parse_config(CONTENT).variants["no-reg"].search.options
    assert (options.steps, options.regularization) == ((3, 5), 0.0)
    assert (options.policy_optimiser.lr, options.policy_optimiser.weight_decay) == (0.2, 0.0)


def test_a_variant_of_another_variants_method() -> None:
    """The variant that is called like a method says the numbers of this method for all others."""
    variants = parse_config(CONTENT).variants
    assert (variants["bmtas"].search.options.steps, variants["bmtas"].search.options.warm_up) == (11, 4)
    assert (variants["cold"].search.options.steps, variants["cold"].search.options.warm_up) == (11, 0)
    assert variants["cold"].train.steps == 7


def test_a_variants_training() -> None:
    """Keys of `[train]` stand in a table of their own, and are laid over it."""
    train = parse_config(CONTENT).variants["fine-tuned"].train
    assert (train.start, train.steps, train.optimiser.lr, train.optimiser.weight_decay) == ("search", 7, 0.01, 0.0)


def test_the_presets_numbers_count_too() -> None:
    """A preset is merged before variants are laid over the file."""
    content = {"preset": "demo", "variants": {"plain": {"method": "automtl", "regularization": 0.0}}}
    found = parse_config(content).variants["plain"].search.options
    assert (found.steps, found.regularization) == ((40, 120), 0.0)


@pytest.mark.parametrize(
    ("name", "method", "option", "value"),
    [
        ("cold", "bmtas", "warm_up", 0),
        ("automtl", "automtl", "regularization", 0.5),
        ("share-until:2", "share-until", "block", "2"),
        ("learn-to-branch", "learn-to-branch", "units", None),
    ],
)
def test_what_a_name_stands_for(name: str, method: str, option: str, value: object) -> None:
    """A variant, the pipeline's own method, a fixed method with its argument, any other method."""
    search = variant_named(parse_config(CONTENT), name).search
    assert search.method == method
    assert getattr(search.options, option, None) == value


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidConfig, match='no method and no variant "colt"\n  did you mean "cold"'):
        variant_named(parse_config(CONTENT), "colt")


def test_one_run_has_no_baselines_and_its_own_seed() -> None:
    """A run of a comparison is the pipeline with this search, alone."""
    config = parse_config(CONTENT)
    run = with_variant(config, config.variants["cold"], 5)
    assert (run.search.method, run.seed, run.train.baselines, run.variants) == ("bmtas", 5, (), {})


def test_a_start_is_for_those_that_end_with_weights() -> None:
    """`start = "search"` for all does not ask single-task models to go on from a search."""
    config = parse_config({**CONTENT, "train": {"start": "search"}})
    starts = [with_variant(config, variant_named(config, name), 0).train.start for name in ("automtl", "single-task")]
    assert starts == ["search", None]


def test_variants_do_not_bind_a_run() -> None:
    """A run goes on after somebody wrote down what else could be compared."""
    without = {key: value for key, value in CONTENT.items() if key != "variants"}
    assert portable(parse_config(CONTENT)) == portable(parse_config(without))


@pytest.mark.parametrize(
    ("variants", "place", "message"),
    [
        ({"mine": {"steps": 3}}, "variants.mine.method", "must name one"),
        ({"mine": {"method": "automlt"}}, "variants.mine.method", "there is no method"),
        ({"bmtas": {"warmup": 3}}, "variants.bmtas.warmup", "unknown key"),
        ({"bmtas": {"warm_up": -3}}, "variants.bmtas.warm_up", "greater than or equal"),
        ({"bmtas": {"train": {"step": 3}}}, "variants.bmtas.train.step", "unknown key"),
        ({"a/b": {"method": "bmtas"}}, "variants.a/b", "a name is made of"),
        ({"..": {"method": "bmtas"}}, "variants...", "a name is made of"),
        ({".lock": {"method": "bmtas"}}, "variants..lock", "a name is made of"),
        ({"single-task": {"method": "multi-task"}}, "variants.single-task", "what Δ is against"),
        ({"bmtas": 3}, "variants.bmtas", "expected a table"),
        (3, "variants", "expected tables"),
    ],
)
def test_wrong_variants_are_located(variants: object, place: str, message: str) -> None:
    """Each with its place in the file, all at once."""
    with pytest.raises(InvalidConfig) as caught:
        parse_config({"variants": variants, "train": {"stepz": 1}}, "p.toml")
    found = {problem.place: problem.message for problem in caught.value.problems}
    assert message in found[f"p.toml: {place}"]
    assert "p.toml: train.stepz" in found


def test_paths_are_the_files(tmp_path: Path) -> None:
    """A file that a variant names is relative to the pipeline file, as everywhere."""
    path = tmp_path / "pipeline.toml"
    path.write_text('[variants.mine]\nmethod = "plan"\nfile = "mine.json"\n')
    assert load_config(path).variants["mine"].search.options.paths == {"file": tmp_path / "mine.json"}
