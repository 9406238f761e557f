"""Several plans, each trained from scratch: which of them is the best on the samples that choose."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import partial

from trunkline.errors import InvalidConfig
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.work import Trained, Work


def best_retrained(work: Work, plans: Mapping[int, SharingPlan]) -> tuple[SharingPlan, Trained]:
    """Train plans as the pipeline says, and return the best, with its trained model; of equals, the first.

    Args:
        work: Which trains them, each as a job of its own.
        plans: By the number that each is called by.

    Returns:
        The plan, whose provenance says the score of all, and its model.

    Raises:
        InvalidConfig: No metric of any of them exists.
    """
    jobs = {number: _job(number, plan) for number, plan in plans.items()}
    trained = work.each({jobs[number]: partial(_train, plan) for number, plan in plans.items()})
    scores = {number: trained[job].score for number, job in jobs.items()}
    judged = {number: score for number, score in scores.items() if not math.isnan(score)}
    if not judged:
        text = "none of the plans that were trained has a metric on the samples that choose"
        raise InvalidConfig(text, place="data", advice="hold out more samples, or train one plan alone")
    best = max(judged, key=lambda number: judged[number])
    said = {str(number): judged.get(number) for number in scores}
    provenance = {**plans[best].provenance, "taken": best, "scores": said}
    return plans[best].model_copy(update={"provenance": provenance}), trained[jobs[best]]


def _train(plan: SharingPlan, work: Work) -> Trained:
    return work.train("trained", plan)


def _job(number: int, plan: SharingPlan) -> str:
    # By content too: a stage holds one plan, and with another budget the same number may be another one's.
    return f"plan{number}-{hashlib.sha256(plan.to_json().encode()).hexdigest()[:8]}"
