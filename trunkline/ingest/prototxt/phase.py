"""``include``/``exclude`` rules: which layers exist in the deployed network."""

from __future__ import annotations

from trunkline.ingest.prototxt.fields import Fields

_PHASES = ("TRAIN", "TEST")


def is_deployed(layer: Fields) -> bool:
    """Whether a layer exists in phase TEST, at level 0, with no stage set, as Caffe's rules decide.

    With ``include`` rules, one of them must match; else no ``exclude`` rule may.
    """
    include = [_matches(rule) for rule in layer.blocks("include")]
    exclude = [_matches(rule) for rule in layer.blocks("exclude")]
    if include and exclude:
        layer.error("exclude", f"{layer.owner} has both include and exclude rules", "keep one kind")
    return any(include) if include else not any(exclude)


def _matches(rule: Fields) -> bool:
    phase = rule.choice("phase", _PHASES, "TEST")
    lowest, highest = rule.integer("min_level", 0), rule.integer("max_level", 0)
    wanted = rule.strings("stage")
    rule.ignore("not_stage")  # no stage is set, so none can be excluded
    return phase == "TEST" and lowest <= 0 <= highest and not wanted
