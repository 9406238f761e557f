"""Golden: what the table of architectures covers, and how each is exported."""

from __future__ import annotations

from collections import Counter

import pytest

from zoo_check.architectures import ARCHITECTURES, planned
from zoo_check.plan import DYNAMO_OPSETS, TORCHSCRIPT_OPSETS, Architecture, exports, family

pytestmark = pytest.mark.golden

MAKERS = {"torchvision", "timm", "pytorchcv", "segmentation", "ultralytics"}


def test_the_table_holds_enough_architectures() -> None:
    """The measure asks for 150; a few exports fail in torch."""
    kinds = Counter(architecture.kind for architecture in ARCHITECTURES)
    assert len({architecture.label for architecture in ARCHITECTURES}) == len(ARCHITECTURES) >= 190
    assert kinds["cnn"] >= 150
    assert min(kinds["hybrid"], kinds["transformer"]) >= 30
    assert {architecture.maker for architecture in ARCHITECTURES} == MAKERS


def test_every_option_is_met_by_many() -> None:
    found = planned()
    options = Counter((export.exporter, export.opset) for export in found)
    wanted = [("torchscript", opset) for opset in TORCHSCRIPT_OPSETS] + [("dynamo", opset) for opset in DYNAMO_OPSETS]
    assert set(options) == set(wanted)
    assert min(options.values()) >= 15
    assert min(Counter((export.exporter, export.free_batch) for export in found).values()) >= 60
    assert sum(export.keeps_batchnorm for export in found) >= 60


def test_labels_of_exports_differ() -> None:
    labels = [export.label for export in planned()]
    assert len(set(labels)) == len(labels)
    assert not any("/" in label for label in labels)


def test_no_export_is_older_than_its_operators() -> None:
    assert all(export.opset >= export.architecture.first_opset for export in planned())
    assert all(one.first_opset >= 17 for one in ARCHITECTURES if one.kind != "cnn")


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("resnet18", ["timm-resnet18-torchscript11-free", "timm-resnet18-dynamo20-fixed"]),
        ("convnext_tiny", ["timm-convnext_tiny-torchscript20-bn-free"]),
    ],
)
def test_a_name_alone_decides_the_exports(name: str, labels: list[str]) -> None:
    """Results are kept by label: a new row of the table, or a new interpreter, must not rename the others."""
    assert [export.label for export in exports(Architecture("timm", name, "any", "cnn"))] == labels


def test_families_start_at_their_kinds_opset() -> None:
    """A family starts at the opset of its kind."""
    (cnn,), (hybrid,) = family("f", "cnn", "timm", "a"), family("f", "hybrid", "timm", "b", size=(7, 9))
    assert (cnn.first_opset, hybrid.first_opset, hybrid.size) == (11, 17, (7, 9))


def test_the_other_exporter_takes_over() -> None:
    """What one exporter cannot write goes to the other."""
    for exporter in ("torchscript", "dynamo"):
        found = [
            export
            for name in "abcdefgh"
            for export in exports(Architecture("timm", name, "f", "cnn", only_by=exporter))
        ]
        assert [export.exporter for export in found] == [exporter] * 8
