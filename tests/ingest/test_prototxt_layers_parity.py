"""Every layer of Caffe against an independent float64 reference, over a grid of its parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
from caffe_reference import Layer, Net, Word, evaluate, prototxt, weight_shapes
from caffe_reference.cases import GRID, Case, case_of, cases_of
from caffe_reference.cases.landmarks import REFUSED, SAME
from caffe_reference.parity import judge

from trunkline.errors import InvalidModel
from trunkline.ingest.prototxt import parse_prototxt

MOST_REFUSED: dict[str, int] = {}
"""Cases of the whole grid that Caffe accepts and Trunkline refuses, with a place. A kind not here has none."""

SLICE = 8
"""Cases of each kind in the quick suite."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads cost more than they give on blobs this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def judged(cases: Iterable[Case]) -> tuple[Counter[str], list[str]]:
    """Count the verdicts, and tell what went wrong with the file that shows it."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for case in cases:
        verdict = judge(case)
        counts[verdict.status] += 1
        if verdict.status != "same":
            faults.append(f"{case.label} {verdict.status}: {verdict.detail}\n{prototxt(case.net)}")
    return counts, faults


@pytest.mark.parity
@pytest.mark.parametrize("name", SAME)
def test_corner_cases(name: str) -> None:
    case = case_of(name, SAME[name])
    assert case is not None
    verdict = judge(case)
    assert verdict.status == "same", f"{verdict.detail}\n{prototxt(case.net)}"


@pytest.mark.abuse
@pytest.mark.parametrize("name", REFUSED)
def test_uncomputable_nets_are_refused_with_place(name: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt(prototxt(REFUSED[name]), "net.prototxt")
    assert all(problem.place.startswith("net.prototxt:") for problem in caught.value.problems)


@pytest.mark.parity
@pytest.mark.parametrize("kind", GRID)
def test_slice_of_the_grid(kind: str) -> None:
    counts, faults = judged(cases_of(kind, SLICE))
    assert not counts["different"], "\n".join(faults[:3])
    assert kind in MOST_REFUSED or not counts["refused"], "\n".join(faults[:3])
    assert counts.total() >= 3


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whole_grid(capsys: pytest.CaptureFixture[str]) -> None:
    totals: Counter[str] = Counter()
    refused: dict[str, int] = {}
    different: list[str] = []
    for kind in GRID:
        counts, faults = judged(cases_of(kind))
        totals += counts
        refused[kind] = counts["refused"]
        different += [fault for fault in faults if " different: " in fault]
    with capsys.disabled():
        listed = ", ".join(f"{kind} {count}" for kind, count in refused.items() if count) or "none"
        print(f"\n{totals.total():,} cases, {len(GRID)} kinds: {totals['same']:,} the same; refused: {listed}")  # noqa: T201
    assert not different, "\n".join(different[:5])
    assert {kind: count for kind, count in refused.items() if count > MOST_REFUSED.get(kind, 0)} == {}
    assert totals["same"] >= 5000


def reference(kind: str, image: np.ndarray, fields: dict[str, object], tops: int = 1) -> list[np.ndarray]:
    """One layer of the reference, its weights all 1 and its biases 0.1."""
    net = Net(image.shape[1:], [Layer(kind, "layer", ["data"], [f"y{i}" for i in range(tops)], fields)])
    weights = {(w.layer, w.role): np.full(w.shape, 0.1 if w.role == "bias" else 1.0) for w in weight_shapes(net)}
    return evaluate(net, image, weights)


@pytest.mark.golden
def test_reference_pools_with_a_mask() -> None:
    """Numbers of Caffe's own test: 3 x 5, window 2 x 2."""
    image = np.array([[1, 2, 5, 2, 3], [9, 4, 1, 4, 8], [1, 2, 5, 2, 3]], float)[None, None]
    largest, mask = reference("Pooling", image, {"pooling_param": {"kernel_size": 2}}, tops=2)
    assert largest[0, 0].tolist() == [[9, 5, 5, 8], [9, 5, 5, 8]]
    assert mask[0, 0].tolist() == [[5, 2, 2, 9], [5, 12, 12, 9]]


@pytest.mark.golden
def test_reference_pools_a_padded_plane() -> None:
    """Numbers of Caffe's own test: 3 x 3, window 3 x 3, stride 2, padding 2."""
    image = np.array([[1, 2, 4], [2, 3, 2], [4, 2, 1]], float)[None, None]
    fields = {"kernel_size": 3, "stride": 2, "pad": 2}
    assert reference("Pooling", image, {"pooling_param": fields})[0][0, 0].tolist() == [[1, 4, 4], [4, 4, 4], [4, 4, 1]]


@pytest.mark.golden
def test_reference_averages_over_padding() -> None:
    """Numbers of Caffe's own test: a plane of 2, window 3 x 3, padding 1."""
    fields = {"pool": Word("AVE"), "kernel_size": 3, "stride": 1, "pad": 1}
    found = reference("Pooling", np.full((1, 1, 3, 3), 2.0), {"pooling_param": fields})[0][0, 0]
    edge, corner = 4 / 3, 8 / 9
    np.testing.assert_allclose(found, [[corner, edge, corner], [edge, 2, edge], [corner, edge, corner]])


@pytest.mark.golden
def test_reference_deconvolves() -> None:
    """Caffe's own test: 3 channels of 1, window 3 x 3, stride 2, bias 0.1; every second row and column overlaps."""
    fields = {"num_output": 4, "kernel_size": 3, "stride": 2}
    found = reference("Deconvolution", np.ones((2, 3, 6, 4)), {"convolution_param": fields})[0]
    twice = [np.array([2 if i % 2 == 0 and 0 < i < size - 1 else 1 for i in range(size)]) for size in (13, 9)]
    np.testing.assert_allclose(found, np.broadcast_to(3 * np.outer(*twice) + 0.1, (2, 4, 13, 9)))


@pytest.mark.golden
@pytest.mark.parametrize(
    ("fields", "size"),
    [({"zoom_factor": 8}, 321), ({"shrink_factor": 8}, 6), ({"pad_end": -1, "zoom_factor": 2}, 79)],
)
def test_reference_resizes_as_deeplab(fields: dict[str, int], size: int) -> None:
    ramp = np.broadcast_to(np.arange(41.0), (1, 1, 41, 41))
    found = reference("Interp", ramp, {"interp_param": fields})[0]
    last = 40 + fields.get("pad_end", 0)
    assert found.shape == (1, 1, size, size)
    np.testing.assert_allclose(found[0, 0, 0], np.linspace(0, last, size), atol=1e-12)
