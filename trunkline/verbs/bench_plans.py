"""``bench`` of a backbone and plans: N single-task models, one for all tasks, and each plan's; none is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trunkline.bench.compare import Comparison
from trunkline.bench.protocol import Progress
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.graph import Graph
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadOptions
from trunkline.report.trade_off import SINGLE_TASK
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.verbs.bench import MULTI_TASK
from trunkline.verbs.bench_runtimes import ONCE, BenchedOn, bench_groups_on
from trunkline.verbs.build import Sharing, backbone_with_heads

Heads = Mapping[str, Graph]


def bench_plans(
    backbone: str | Path | Graph,
    tasks: Mapping[str, int],
    sharings: Mapping[str, Sharing],
    settings: Settings | None = None,
    on: BenchedOn = ONCE,
    *,
    head: str | Path | Graph = "light",
    options: ReadOptions = AS_THE_FILE_SAYS,
    progress: Progress | None = None,
) -> Comparison:
    """Measure the models of plans next to N single-task models and the fully shared one, in turns.

    Weights are as the backbone's file has them, or drawn: they do not change how long a model takes.

    Args:
        backbone: Model file or ``zoo:NAME``, or a Graph.
        tasks: Output channels by task, in output order.
        sharings: Who shares what, by the name that its model is to have.
        settings: How it is measured.
        on: On what.
        head: The head of every task, as for ``build``.
        options: How to read the backbone.
        progress: Called with the rounds done and those to do, of each measurement.

    Raises:
        InvalidModel: The backbone cannot be read.
        InvalidConfig: A plan, a layout or the head does not fit it, or a runtime does not run on the provider.
        WorkFailed: A runtime or provider is not there; there is no silent fall-back.
    """
    settings = settings or Settings()
    # Before any model is written.
    on.kinds(settings)
    graph, heads = backbone_with_heads(backbone, tasks, head, options)
    found, names = Backbone(graph), list(tasks)
    plans = {MULTI_TASK: all_shared(found, names)}
    plans |= {name: sharing.resolve(found, names) for name, sharing in sharings.items()}
    with tempfile.TemporaryDirectory() as folder:
        groups = write_models(found, heads, names, plans, Path(folder))
        return bench_groups_on(groups, settings, on, limits=options.limits, progress=progress)


def write_models(
    backbone: Backbone, heads: Heads, tasks: Sequence[str], plans: Mapping[str, SharingPlan], folder: Path
) -> dict[str, list[Path]]:
    """Write single-task models, a file for each task, and the model of each plan; return the files by name."""
    groups = {SINGLE_TASK: write_apart(backbone, heads, tasks, folder)}
    for number, (name, plan) in enumerate(plans.items()):
        model = lower(plan, backbone, heads).graph
        # Without `reuse`: copies of the backbone have equal weights here, and would be merged into one.
        groups[name] = [write_onnx(model, folder / f"model-{number}.onnx", fold=True, reuse=False)]
    return groups


def write_apart(backbone: Backbone, heads: Heads, tasks: Iterable[str], folder: Path) -> list[Path]:
    """Write a model for each task: N files, because N models are N sessions with inputs of their own."""
    paths = []
    for number, task in enumerate(tasks):
        own = {task: heads[task]} if heads else {}
        alone = lower(all_shared(backbone, [task]), backbone, own).graph
        paths.append(write_onnx(alone, folder / f"single-{number}.onnx", fold=True, reuse=False))
    return paths


def sharings_of(plans: Sequence[Path], layouts: Sequence[Path], shared_until: Sequence[str]) -> dict[str, Sharing]:
    """Return ways of sharing by name: files by their stems, all plans of a folder, and cuts as ``until B``.

    Raises:
        InvalidConfig: A folder holds no plan, or two have one name.
    """
    named = [(path.stem, Sharing(plan=path)) for given in plans for path in _plans_in(given)]
    named += [(path.stem, Sharing(layout=path)) for path in layouts]
    named += [(f"until {block}", Sharing(share_until=block)) for block in shared_until]
    found: dict[str, Sharing] = {}
    for name, sharing in named:
        if name in (*found, SINGLE_TASK, MULTI_TASK):
            text = f"two models would be called {name}"
            raise InvalidConfig(text, place=str(sharing.plan or sharing.layout or name), advice="rename the file")
        found[name] = sharing
    return found


def _plans_in(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    found = sorted(given.glob("*.json"))
    if not found:
        raise InvalidConfig("there is no plan in this folder", place=str(given), advice="plans are JSON files")
    return found
