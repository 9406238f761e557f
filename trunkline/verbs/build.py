"""``build``: the multi-task model of a plan or layout, without training, to look at and to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.exporter import ExportResult, export_model
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.provenance import Provenance, sha256_of
from trunkline.files.read import in_file
from trunkline.fragments.heads.make_head import make_head, need_taps
from trunkline.fragments.heads.other_size import head_at_other_size
from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph, name_of
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadKeywords, ReadOptions
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.layout_file import load_layout
from trunkline.sharing.layouts.plans import all_shared, independent, plan_of_layout, share_until
from trunkline.sharing.lowering.executed_cost import ExecutedCost, cost_of_lowered
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan
from trunkline.text import quoted
from trunkline.verbs.other_size import Parts, options_at_size, plan_at_size


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the tasks share; exactly one is set.

    Attributes:
        plan: A plan file.
        layout: A TreeMTL layout file.
        share_until: Name or number of the last shared block.
        all_shared: One backbone for all.
        independent: A backbone each.
    """

    plan: Path | None = None
    layout: Path | None = None
    share_until: str | None = None
    all_shared: bool = False
    independent: bool = False

    def resolve(self, backbone: Backbone, tasks: list[str]) -> SharingPlan:
        """Return the plan for ``backbone`` and ``tasks``.

        Raises:
            InvalidConfig: None or several are set, or the file does not fit.
        """
        # `share_until` counts where it is given at all: an empty name is then refused as no block.
        given = [bool(self.plan), bool(self.layout), self.share_until is not None, self.all_shared, self.independent]
        if sum(given) != 1:
            raise InvalidConfig(
                f"{sum(given) or 'no'} ways of sharing are given",
                advice="give exactly one of --plan, --layout, --share-until, --all-shared, --independent",
            )
        if self.plan is not None:
            with in_file(self.plan):
                plan = _plan_for(SharingPlan.load(self.plan), tasks, self.plan)
                # Lowering would refuse it too, but could not say which file it is from.
                check_plan(plan, backbone)
            return plan
        if self.layout is not None:
            layout = load_layout(self.layout, tasks)
            with in_file(self.layout):
                return plan_of_layout(backbone, layout)
        if self.share_until is not None:
            return share_until(backbone, tasks, self.share_until)
        return all_shared(backbone, tasks) if self.all_shared else independent(backbone, tasks)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A built model.

    Attributes:
        path: The ONNX file.
        plan: The sharing plan that it was built from.
        cost: MACs and parameters of the model, next to those of independent models.
        nodes: Number of nodes in the file.
        notes: What the reader repaired or dropped, and which output tasks read.
        export: Of a file with a free image size: its parity, and the sizes it is for.
    """

    path: Path
    plan: SharingPlan
    cost: ExecutedCost
    nodes: int
    notes: tuple[str, ...]
    export: ExportResult | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "path": str(self.path),
            "tasks": list(self.plan.tasks),
            "method": self.plan.method,
            "parameters": self.cost.total.parameters,
            "macs": {
                "executed": self.cost.total.macs,
                "independent": self.cost.independent.macs,
                # A backbone of pooling and activations alone has no MACs.
                "ratio": self.cost.total.macs / max(1, self.cost.independent.macs),
            },
            "nodes": self.nodes,
            "parts": self.cost.to_json(),
            "notes": list(self.notes),
            "free_size": None if self.export is None else self.export.to_json()["free_size"],
        }


def build(
    backbone: str | Path | Graph,
    out: str | Path,
    *,
    tasks: Mapping[str, int],
    sharing: Sharing,
    head: str | Path | Graph = "light",
    fold: bool = False,
    free_size: bool = False,
    parity_inputs: int = 8,
    options: ReadOptions = AS_THE_FILE_SAYS,
    **reading: Unpack[ReadKeywords],
) -> BuildResult:
    """Write the multi-task model of a backbone to ``out`` without training it.

    Args:
        backbone: Model file or ``zoo:NAME``, or a Graph.
        out: The ONNX file to write.
        tasks: Output channels by task, in output order.
        sharing: Who shares what.
        head: ``light``, ``aspp``, ``linear``, ``deeplabv3plus``, ``fpn``, ``none`` (the network's own output),
            or a model file or Graph with an input for each of the last feature maps that it reads.
        fold: Fold BatchNormalization and store computed weights; off, so that the file can still be trained.
        free_size: Leave the image's height and width free in the file; it is then compared at several sizes.
        parity_inputs: Number of seeded inputs to compare on, at each of these sizes.
        options: How to read the backbone. ``features`` are the feature maps that the heads read, found where none
            are named; from ``weights`` every task's copy of the backbone starts; ``limits`` are for a head's file too.
        **reading: Options by name; see :class:`ReadOptions`.

    Raises:
        InvalidModel: The backbone cannot be read, or the weights do not fit it; or the network allows no free size.
        InvalidConfig: The plan, layout or head does not fit it.
        ParityFailure: A file with a free size computes something else at one of the sizes.
    """
    options = options.but(reading)
    graph, heads = backbone_with_heads(backbone, tasks, head, options)
    found = Backbone(graph)
    plan = sharing.resolve(found, list(tasks))
    lowered = lower(plan, found, heads).graph
    metadata = Provenance(backbone=graph.name, plan_sha256=sha256_of(plan.to_json())).to_metadata()
    # What the plan holds apart stays apart, even where the file's weights start out equal.
    cost = cost_of_lowered(lowered, found, heads, len(plan.tasks))
    if free_size:
        at_size = plan_at_size(plan, _parts_at_size(backbone, graph, heads, head, options))
        export = export_model(
            lowered,
            None,
            out,
            fold=fold,
            reuse=False,
            parity_inputs=parity_inputs,
            metadata=metadata,
            at_size=at_size,
        )
        return BuildResult(export.path, plan, cost, export.nodes, lowered.notes, export)
    path = write_onnx(lowered, out, fold=fold, reuse=False, metadata=metadata)
    return BuildResult(path, plan, cost, count_file(path).nodes, lowered.notes)


def _parts_at_size(
    backbone: str | Path | Graph,
    given: Graph,
    heads: Mapping[str, Graph],
    head: str | Path | Graph,
    options: ReadOptions,
) -> Callable[[tuple[int, int]], Parts]:
    """Return what reads a backbone, and makes its heads, for images of another height and width."""
    options_at = options_at_size(backbone, options)

    def parts(size: tuple[int, int]) -> Parts:
        graph = bare_backbone(backbone, head, options_at(size))
        made = {task: head_at_other_size(own, head, given, graph, options.limits) for task, own in heads.items()}
        return Backbone(graph), made

    return parts


def backbone_with_heads(
    backbone: str | Path | Graph, tasks: Mapping[str, int], head: str | Path | Graph, options: ReadOptions
) -> tuple[Graph, dict[str, Graph]]:
    """Return a backbone and a head for each task; with ``none``, the backbone alone.

    Raises:
        InvalidModel: The backbone cannot be read.
        InvalidConfig: The head does not fit it.
    """
    graph = bare_backbone(backbone, head, options)
    if head == "none":
        return graph, {}
    return graph, {task: make_head(head, graph, channels, options.limits) for task, channels in tasks.items()}


def bare_backbone(backbone: str | Path | Graph, head: str | Path | Graph, options: ReadOptions) -> Graph:
    """Return a backbone up to what heads of one kind read.

    Raises:
        InvalidModel: It cannot be read.
    """
    if head == "none":
        return _one_output(read(backbone, options=options))
    taps = need_taps([head], options.limits)
    graph = read_backbone(backbone, taps=taps, options=options)
    # The last output: features are the finest first, and a head of one map reads the coarsest.
    return graph if taps else _one_output(graph, last=True)


def _one_output(graph: Graph, *, last: bool = False) -> Graph:
    """Return ``graph`` with one output, and a note if it had more."""
    if len(graph.outputs) == 1:
        return graph
    chosen = name_of(graph.outputs[-1 if last else 0])
    others = ", ".join(quoted(name_of(value)) for value in graph.outputs if value.name != chosen)
    return Graph(cut_graph(graph, [chosen]).model, (*graph.notes, f"tasks read {quoted(chosen)}; {others} left out"))


def _plan_for(plan: SharingPlan, tasks: list[str], path: Path) -> SharingPlan:
    """Return ``plan`` with its tasks in the order that was given, which is the order of the outputs."""
    if set(plan.tasks) != set(tasks):
        raise InvalidConfig(f"the plan is for tasks {', '.join(plan.tasks)}, not {', '.join(tasks)}", place=str(path))
    return plan.model_copy(update={"tasks": tuple(tasks)})
