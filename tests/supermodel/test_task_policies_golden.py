"""What a policy says of each task, and how alike tasks are, against sums written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from trunkline.supermodel.learned_policy import Policy
from trunkline.supermodel.task_policies import task_correlation, ways_of_tasks

pytestmark = pytest.mark.golden


def drawn(units: int, tasks: int, options: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(options), (units, tasks))


def cosine_by_hand(p: np.ndarray, one: int, other: int) -> float:
    product = square = other_square = 0.0
    for unit in range(p.shape[0]):
        for option in range(p.shape[2]):
            a, b = p[unit, one, option], p[unit, other, option]
            product, square, other_square = product + a * b, square + a * a, other_square + b * b
    return product / math.sqrt(square * other_square)


@pytest.mark.parametrize("shape", [(1, 2, 2), (5, 3, 3), (40, 10, 4)])
def test_correlation_is_the_cosine_of_policies(shape: tuple[int, int, int]) -> None:
    """Over all units and options, for each two tasks."""
    p = drawn(*shape)
    found = task_correlation(p)
    for one, other in itertools.product(range(shape[1]), repeat=2):
        assert found[one][other] == pytest.approx(cosine_by_hand(p, one, other), rel=1e-12)
        assert found[one][other] <= 1.0


def test_correlation_knows_what_is_alike() -> None:
    """Equal tasks have 1, and tasks that are sure of different options 0."""
    sure = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    assert task_correlation(sure) == [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_correlation_is_of_common_units() -> None:
    """A unit at which a task has no option says nothing about it; without a common one there is no number."""
    p = drawn(3, 2, 2)
    p[0, 0] = 0.0
    assert task_correlation(p)[0][1] == pytest.approx(cosine_by_hand(p[1:], 0, 1))
    p[1:, 1] = 0.0
    assert task_correlation(p)[0][1] is None
    assert task_correlation(p)[0][0] == pytest.approx(1.0)


@pytest.mark.parametrize(("units", "tasks"), [(1, 2), (3, 2), (3, 3)])
def test_ways_add_up_all_trees(units: int, tasks: int) -> None:
    """The probability of a node is that of all choices of all nodes with which the task comes by it."""
    p = drawn(units, tasks, tasks, seed=1)
    expected = np.zeros_like(p)
    for flat in itertools.product(range(tasks), repeat=units * tasks):
        picks = np.array(flat).reshape(units, tasks)
        chance = math.prod(p[u, node, picks[u, node]] for u in range(units) for node in range(tasks))
        for task in range(tasks):
            node = task
            for unit in reversed(range(units)):
                node = picks[unit, node]
                expected[unit, task, node] += chance
    np.testing.assert_allclose(ways_of_tasks(p), expected, rtol=1e-12)


def test_nodes_are_compared_by_ways() -> None:
    """A policy of nodes has the ways of its tasks in its JSON, and their correlation; one of tasks has its own."""
    p = drawn(4, 3, 3)
    names = ("n0", "n1", "n2"), ("a", "b", "c", "d"), ("x", "y", "z")
    content = Policy(*names, p, "node").to_json("learn-to-branch")
    ways = ways_of_tasks(p)
    assert content["by_task"] == ways.tolist() and content["probabilities"] == p.tolist()
    assert content["correlation"]["x"]["z"] == pytest.approx(cosine_by_hand(ways, 0, 2))
    own = Policy(*names, p).to_json("bmtas")
    assert own["by_task"] == own["probabilities"]
    assert own["correlation"]["y"]["x"] == pytest.approx(cosine_by_hand(p, 0, 1))
