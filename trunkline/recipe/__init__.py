"""How a model is trained, as data: methods write it, the trainer reads it, and nothing here computes on tensors.

A *phase* is a number of steps. It walks through its *turns* again and again: ``turns[0].steps`` steps of the first,
then ``turns[1].steps`` of the second, and so on. A turn reads a *part* of the training data and makes *moves*: each
moves a group of parameters with an optimiser of its own, whose state lives from one visit of the turn to the next.
AutoMTL's search is a phase of two turns, "policy" and "weights"; plain training has one turn with one move.

Everything that changes with time is a function of the *moment*, so a checkpoint needs to hold no schedule.

>>> phase = Phase(steps=10, turns=(Turn(name="policy", steps=1), Turn(name="weights", steps=4)))
>>> [phase.turn_at(step).name for step in (0, 1, 4, 5)]
['policy', 'weights', 'weights', 'policy']
>>> phase.moment(6)
Moment(phase='train', mode='argmax', turn='weights', step=6, of=10, cycle=1, within=0)
"""

from __future__ import annotations

from trunkline.recipe.move import Count, Move, Name, NotNegative, Optimiser, Positive, Schedule
from trunkline.recipe.phase import Moment, Part, Phase, Turn

__all__ = [
    "Count",
    "Moment",
    "Move",
    "Name",
    "NotNegative",
    "Optimiser",
    "Part",
    "Phase",
    "Positive",
    "Schedule",
    "Turn",
]
