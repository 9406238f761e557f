"""Small files and the Graphs, or the error texts, they give. ``python test_prototxt_golden.py`` rewrites them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, attribute
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt import parse_prototxt, read_prototxt

pytestmark = pytest.mark.golden

CORPUS = Path(__file__).parents[1] / "corpus" / "prototxt"
READ = sorted(path for path in CORPUS.glob("*.prototxt") if not path.name.startswith("refused"))


def printed(graph: Graph) -> str:
    lines = [f"graph {graph.name}", f"input {graph.input.name} {graph.input.shape}"]
    for node in graph.nodes:
        inputs = ", ".join(value.name or "" for value in node.inputs if value is not None)
        outputs = ", ".join(f"{value.name} {value.shape}" for value in node.outputs)
        line = (node.metadata_props["trunkline.source"]).rsplit(":", 1)[-1]
        lines.append(f"{node.op_type} {node.name}({inputs}) -> {outputs}  line {line}")
        lines += [f"    {name} = {attribute(node, name)}" for name in sorted(node.attributes)]
    for name, value in graph.initializers.items():
        filler = Filler.of(value)
        content = filler or value.const_value.numpy().ravel()[:8].tolist()
        lines.append(f"initializer {name} {value.dtype} {value.shape} = {content}")
    lines += [f"output {value.name}" for value in graph.outputs]
    lines += [f"note {note}" for note in graph.notes]
    return "\n".join(lines) + "\n"


def refusal(path: Path) -> str:
    with pytest.raises(UnsupportedOp) as caught:
        parse_prototxt(path.read_text(), path.name)
    return re.sub("(supported layer types:).*", r"\1 …", str(caught.value)) + "\n"


@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_graphs_of_the_corpus(path: Path) -> None:
    assert printed(verify(read_prototxt(path))) == path.with_suffix(".txt").read_text()


def test_all_faults_in_one_error() -> None:
    path = CORPUS / "refused_many_faults.prototxt"
    assert refusal(path) == path.with_suffix(".txt").read_text()


def test_faults_without_unknown_layers_are_invalid() -> None:
    """Without its unknown layers the same file is an InvalidModel, no UnsupportedOp."""
    text = (CORPUS / "refused_many_faults.prototxt").read_text()
    kept = [line for line in text.splitlines() if not re.search('"(Warp|Relu|PriorBox)"', line)]
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt("\n".join(kept))
    assert not isinstance(caught.value, UnsupportedOp)


if __name__ == "__main__":
    for golden in READ:
        golden.with_suffix(".txt").write_text(printed(read_prototxt(golden)))
    refused = CORPUS / "refused_many_faults.prototxt"
    refused.with_suffix(".txt").write_text(refusal(refused))
