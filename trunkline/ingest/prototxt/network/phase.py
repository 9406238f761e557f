"""``include``/``exclude`` rules: which layers exist in the deployed network."""

from __future__ import annotations

from dataclasses import dataclass, field

from trunkline.ingest.prototxt.text.fields import Fields

_PHASES = ("TRAIN", "TEST")


@dataclass(frozen=True, slots=True)
class State:
    """What the rules are held against: phase TEST, and the level and stages that the file itself sets."""

    level: int = 0
    stages: frozenset[str] = field(default_factory=frozenset)


def read_state(file: Fields) -> State:
    """Read the file's ``state`` block; its phase is passed over, because deployment is phase TEST."""
    block = file.block("state")
    block.ignore("phase")
    return State(block.integer("level", 0), frozenset(name for name, _ in block.strings("stage")))


def is_deployed(layer: Fields, state: State) -> bool:
    """Whether a layer exists in phase TEST, as Caffe's rules decide.

    With ``include`` rules, one of them must match; else no ``exclude`` rule may.
    """
    include = [_matches(rule, state) for rule in layer.blocks("include")]
    exclude = [_matches(rule, state) for rule in layer.blocks("exclude")]
    if include and exclude:
        layer.error("exclude", f"{layer.owner} has both include and exclude rules", "keep one kind")
    return any(include) if include else not any(exclude)


def _matches(rule: Fields, state: State) -> bool:
    phase = rule.choice("phase", _PHASES, "TEST")
    lowest, highest = rule.integer("min_level", 0), rule.integer("max_level", state.level)
    wanted = {name for name, _ in rule.strings("stage")}
    refused = {name for name, _ in rule.strings("not_stage")}
    in_stage = wanted <= state.stages and not refused & state.stages
    return phase == "TEST" and lowest <= state.level <= highest and in_stage
