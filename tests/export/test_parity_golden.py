"""Golden: what a parity report says, as text and as JSON; and in which precision, of which weights, it judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("onnxruntime")

from trunkline.errors import ParityFailure
from trunkline.export.formats.onnx_model import finished
from trunkline.export.parity.check import OutputParity, ParityReport, check_parity
from trunkline.export.parity.locate import Divergence
from trunkline.export.parity.reference import Reference
from trunkline.graph.graph import array_of, shape_of
from trunkline.ingest.read import read

if TYPE_CHECKING:
    from tests.export.conftest import Nets


pytestmark = pytest.mark.golden

GOOD = OutputParity("depth", max_abs=2e-6, max_rel=1e-7, torch_error=1e-6, tolerance=4e-5, passed=True)
NOTED = OutputParity("score", max_abs=1e-4, max_rel=3e-2, torch_error=0.0, tolerance=2e-3, passed=True, note="excused")
BAD = OutputParity("seg", max_abs=float("inf"), max_rel=0.5, torch_error=1e-6, tolerance=4e-5, passed=False)
FAULTY = OutputParity("edges", max_abs=0, max_rel=0, torch_error=0, tolerance=0, passed=False, note="not finite")
WRONG = Divergence("conv1", "Conv", "conv1_out", "error 1, allowed 2", "net.prototxt:7")

TEXT = """\
"depth" passed: error 2e-06 (1e-07 of the largest magnitude), allowed 4e-05; torch float32 itself: 1e-06
"score" passed: error 0.0001 (0.03 of the largest magnitude), allowed 0.002 (excused); torch float32 itself: 0
"seg" FAILED: error inf (0.5 of the largest magnitude), allowed 4e-05; torch float32 itself: 1e-06
"edges" FAILED: not finite"""


def test_report_as_text() -> None:
    assert ParityReport((GOOD, NOTED, BAD, FAULTY), 3).table() == TEXT


def test_report_as_json() -> None:
    report = ParityReport((GOOD, BAD), inputs=3, seed=5, divergence=WRONG)
    row = {"name": "seg", "max_abs": None, "max_rel": 0.5, "torch_error": 1e-6, "tolerance": 4e-5, "passed": False}
    found = report.to_json()
    assert found["outputs"][1] == {**row, "note": ""}
    assert found["outputs"][0]["max_abs"] == 2e-6
    del found["outputs"]
    where = {"node": "conv1", "op": "Conv", "value": "conv1_out", "reason": WRONG.reason, "source": "net.prototxt:7"}
    assert found == {"passed": False, "inputs": 3, "seed": 5, "divergence": where}
    assert ParityReport((GOOD,), 1).to_json()["divergence"] is None


def test_failure_names_outputs_and_node() -> None:
    ParityReport((GOOD, NOTED), 1).raise_if_failed()
    with pytest.raises(ParityFailure) as caught:
        ParityReport((GOOD, BAD, FAULTY), 1, divergence=WRONG).raise_if_failed()
    headline, *failed, where = [problem.message for problem in caught.value.problems]
    assert headline == "2 of 3 outputs do not compute what the trained twin computes"
    assert failed == TEXT.splitlines()[2:]
    assert where.startswith('the first wrong value is "conv1_out", of Conv "conv1" (net.prototxt:7): error 1')


def test_unrunnable_file_fails_every_output(nets: type[Nets]) -> None:
    graph = nets.columns(tied=True)
    proto = ir.to_proto(finished(graph))
    proto.graph.node[0].op_type = "Nothing"
    report = check_parity(proto.SerializeToString(), graph, inputs=2)
    assert [output.passed for output in report.outputs] == [False, False]
    assert all(output.note for output in report.outputs)


def test_reference_computes_in_both_precisions(nets: type[Nets]) -> None:
    reference = Reference(nets.columns(tied=True))
    image = np.random.default_rng(0).standard_normal((2, 3, 12, 16), dtype=np.float32)
    double, single = (reference.values(image, double=precise) for precise in (True, False))
    assert {value.dtype for value in double.values()} == {np.dtype(np.float64)}
    assert {value.dtype for value in single.values()} == {np.dtype(np.float32)}
    for name, value in reference.double(image).items():
        np.testing.assert_allclose(double[name], value, rtol=1e-12)
        assert 0 < np.abs(single[name] - value).max() < 1e-4


def test_reference_draws_lazy_weights(nets: type[Nets]) -> None:
    """A weight that is a recipe has numbers in no file: the reference computes with those that a file would get."""
    graph = read("zoo:tiny")
    image = np.random.default_rng(0).standard_normal((1, *shape_of(graph.input)[1:]), dtype=np.float32)
    stored = {name: array_of(value) for name, value in graph.initializers.items()}
    expected = Reference(graph, stored).double(image)
    for name, value in Reference(graph).double(image).items():
        assert np.ptp(value) > 0
        np.testing.assert_array_equal(value, expected[name])
