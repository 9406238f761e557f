"""``include``/``exclude`` rules: which layers exist in the deployed network."""

from __future__ import annotations

from dataclasses import dataclass, field

from trunkline.ingest.prototxt.text.fields import Fields

_PHASES = ("TRAIN", "TEST")
"""In the order of Caffe's enum, whose numbers a file may give."""


@dataclass(frozen=True, slots=True)
class State:
    """What the rules are held against: phase TEST, and the level and stages that the file itself sets."""

    level: int = 0
    stages: frozenset[str] = field(default_factory=frozenset)


def read_state(file: Fields) -> State:
    """Read the file's ``state`` block, but not its phase, because deployment is phase TEST."""
    block = file.block("state")
    block.ignore("phase")
    return State(block.integer("level", 0), frozenset(name for name, _ in block.strings("stage")))


def is_deployed(layer: Fields, state: State) -> bool:
    """Whether a layer exists in phase TEST, by Caffe's two rules.

    1. A layer with ``include`` rules exists where one of them matches.
    2. Any other exists where none of its ``exclude`` rules matches.
    """
    include = [_matches(rule, state) for rule in layer.blocks("include")]
    exclude = [_matches(rule, state) for rule in layer.blocks("exclude")]
    if include and exclude:
        # Caffe stops at such a layer too: it has no rule for both.
        layer.error("exclude", f"{layer.owner} has both include and exclude rules", "keep one kind")
    return any(include) if include else not any(exclude)


def _matches(rule: Fields, state: State) -> bool:
    phase = rule.choice("phase", _PHASES, "TEST")  # a rule without a phase holds in every phase, so in TEST
    lowest, highest = rule.integer("min_level", 0), rule.integer("max_level", state.level)
    wanted = {name for name, _ in rule.strings("stage")}
    refused = {name for name, _ in rule.strings("not_stage")}
    in_stage = wanted <= state.stages and not refused & state.stages
    return phase == "TEST" and lowest <= state.level <= highest and in_stage
