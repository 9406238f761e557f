"""How the models of a report were trained, in sentences: what reports, what chose, and who had more steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.report.tables import in_markdown

Json = Mapping[str, Any]


def how_trained(models: Sequence[Json]) -> list[str]:
    """Return sentences about the contents of ``train*.json``, the run's model first."""
    splits, best_by = models[0]["splits"], models[0]["best_by"]
    sentences = [f"Metrics are of {_part(splits['report'])}."]
    if best_by is None:
        sentences.append("Nothing was chosen: weights are those of the last step.")
    else:
        chosen = f"`{in_markdown(best_by)}` on {_part(splits['choose'])}"
        sentences.append(f"Weights were chosen by {chosen}; models that share nothing chose each for itself.")
    # A model that went on from its search had more steps than any baseline, which a reader of Δ must know.
    return [*sentences, *(_not_alike(model) for model in models if not model["alike"])]


def _part(part: Json) -> str:
    return f"{in_markdown(part['split'])} ({part['samples']} samples: {in_markdown(part['from'])})"


def _not_alike(model: Json) -> str:
    steps, name = model["steps"], in_markdown(model["name"])
    if steps.get("teacher"):  # runs from before there were teachers have no such key
        return (
            f"**{name} was not trained alike**: beside its labels it learned from models that had been trained for "
            f"{steps['teacher']} steps. No baseline has a teacher, so Δ is not due to sharing alone."
        )
    if not steps["search"]:
        weights = ", ".join(f"{in_markdown(task)} {weight:.3g}" for task, weight in model["loss_weights"].items())
        return (
            f"**{name} was not trained alike**: its method weighs the losses ({weights}); those of the baselines weigh "
            f"what the pipeline says. So Δ is not due to sharing alone."
        )
    return (
        f"**{name} was not trained alike**: it went on from the search, where {steps['search']} steps had moved its "
        f"weights before its own {steps['train']}. No baseline gets those, so Δ is not due to sharing alone."
    )
