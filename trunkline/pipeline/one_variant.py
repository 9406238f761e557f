"""The pipeline of one run of a comparison: what a name stands for, in place of the pipeline's own search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.kind_tables import SearchConfig, read_search
from trunkline.pipeline.variants import Variant
from trunkline.supermodel.methods.registry import baseline_named, method_named, methods
from trunkline.text import quoted

_FOUND = "found:"


def variant_named(config: PipelineConfig, text: str) -> Variant:
    """Return what a name stands for: a variant of the file, a method, or a fixed method with its argument.

    Raises:
        InvalidConfig: It is none of these, or the method needs an option.

    >>> variant_named(PipelineConfig(), "share-until:2").search.options.block
    '2'
    """
    if text in config.variants:
        return config.variants[text]
    if ":" in text:
        kind, options = baseline_named(text)
        return Variant(search=SearchConfig(method=kind.name, options=options), train=config.train)
    if text == config.search.method:
        return Variant(search=config.search, train=config.train)
    if text in methods():
        return Variant(search=_with_defaults(text), train=config.train)
    known = list(dict.fromkeys([*config.variants, *methods()]))
    advice = did_you_mean(text, known) or f"variants and methods are {', '.join(known)}"
    raise InvalidConfig(f"there is no method and no variant {quoted(text)}", advice=advice)


def found_by(variant: Variant) -> dict[str, str]:
    """Return by option the way of sharing whose plan stands for it: a file ``found:NAME`` is what NAME finds.

    >>> from trunkline.pipeline.config import parse_config
    >>> table = {"method": "plan", "file": "found:bmtas", "permutation": 0}
    >>> found_by(parse_config({"variants": {"permuted": table}}).variants["permuted"])
    {'file': 'bmtas'}
    """
    paths = variant.search.options.paths
    return {key: path.name.removeprefix(_FOUND) for key, path in paths.items() if path.name.startswith(_FOUND)}


def with_plans(variant: Variant, plans: Mapping[str, Path]) -> Variant:
    """Return a variant with these files, by option."""
    options = variant.search.options.model_copy(update=dict(plans))
    return variant.model_copy(update={"search": variant.search.model_copy(update={"options": options})})


def with_variant(config: PipelineConfig, variant: Variant, seed: int) -> PipelineConfig:
    """Return the pipeline of one run of a comparison: alone, without baselines beside it."""
    changes: dict[str, object] = {"baselines": ()}
    if not method_named(variant.search.method).leaves_weights:
        # What [train] says of the start is for those that end with weights; these have none to go on from.
        changes["start"] = None
    train = variant.train.model_copy(update=changes)
    return config.model_copy(update={"search": variant.search, "train": train, "seed": seed, "variants": {}})


def _with_defaults(method: str) -> SearchConfig:
    """Return a method as it is where a file says nothing of it."""
    try:
        return read_search({"method": method})
    except InvalidConfig as error:
        advice = f'write a table `[variants.NAME]` with `method = "{method}"` and this key'
        problems = [Problem(item.message, f"{method}: {item.place}", advice) for item in error.problems]
        raise InvalidConfig(problems) from error
