"""Properties: where the probabilities leave no doubt, the mixed pass is the pass of the chosen options."""

from __future__ import annotations

import zlib

import pytest
import torch
from automtl_model import AutoMTL, AutoMTLOptions
from cost_backbones import COSTLY, head_of_all_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import option_of, random_plan

pytestmark = pytest.mark.properties

TASKS = ("a", "b")
SURE = 1000.0
"""A logit that gives its option a probability of exactly 1."""


@pytest.mark.parametrize("batchnorm", ["tied", "task"])
@pytest.mark.parametrize("mixing", ["weight", "output"])
@pytest.mark.parametrize("name", COSTLY)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), training=st.booleans())
def test_sure_probabilities_choose_like_argmax(
    name: str, mixing: str, batchnorm: str, seed: int, training: bool
) -> None:
    """Above all a follower whose unit is skipped: it stays, with the shared weights."""
    backbone = COSTLY[name]()
    heads = {"a": head_of_all_maps(backbone)}
    model = AutoMTL(backbone, heads, TASKS, AutoMTLOptions(mixing=mixing, batchnorm=batchnorm), seed=1).double()
    with torch.no_grad():
        for name_of_weight, tensor in model.store.weights().items():
            # Columns that feed a node alike have moved its statistics alike.
            of_any_column = name_of_weight.partition("~")[0]
            tensor.add_(0.01 * (zlib.crc32(of_any_column.encode()) % 7))
    plan = random_plan(backbone, TASKS, seed, sharing=0.3)
    logits = torch.zeros(len(model.units), len(TASKS), 3)
    for i, unit in enumerate(model.units):
        for t, task in enumerate(TASKS):
            logits[i, t, option_of(plan.choice(unit.name, task))] = SURE
    model.set_logits(logits)
    model.train(training)
    size = backbone.input.shape[2]
    image = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = []
    for mode in ("argmax", "soft"):
        model.mode(mode)
        found.append(model(image))
    for task in TASKS:
        torch.testing.assert_close(found[1][task], found[0][task], rtol=1e-9, atol=1e-9)
