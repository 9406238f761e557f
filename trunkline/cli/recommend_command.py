"""Arguments of ``trunkline recommend``, and its table of layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.blocks_argument import Blocks, BlocksBy, blocks_of
from trunkline.cli.console import emit, emit_json, emit_table, parse_size, say
from trunkline.cli.options import (
    Allow,
    BranchAfter,
    BranchMerge,
    InputSize,
    Json,
    NoBranchAfter,
    branching_of,
    features_of,
    limits_of,
)
from trunkline.ingest.read_options import ReadOptions
from trunkline.sharing.layouts.drawing import drawn
from trunkline.sharing.layouts.estimator import Rows, Weighing
from trunkline.sharing.layouts.layout_budgets import LayoutBudgets
from trunkline.sharing.layouts.ranking import Recommended
from trunkline.text import with_thousands
from trunkline.verbs.recommend import Recommendation, draw_recommendation, recommend


def recommend_command(
    table: Annotated[Path, Parameter(help="Two-task table: CSV, or .xlsx of TreeMTL's release.")],
    *,
    backbone: Annotated[str, Parameter(help="Prototxt or ONNX file, or zoo:NAME for a packaged backbone.")],
    input_size: InputSize = None,
    blocks: Blocks = None,
    blocks_by: BlocksBy = "macs",
    branch_merge: BranchMerge = "previous",
    branch_after: BranchAfter = None,
    no_branch_after: NoBranchAfter = None,
    tasks: Annotated[str | None, Parameter(help="Other names for the table's tasks, in its order: a,b,c.")] = None,
    budget_models: Annotated[float | None, Parameter(help="Most MACs, as a number of backbones.")] = None,
    budget_macs: Annotated[float | None, Parameter(help="Most MACs of an image, without heads.")] = None,
    budget_parameters: Annotated[float | None, Parameter(help="Most parameters, without heads.")] = None,
    budget_bytes: Annotated[float | None, Parameter(help="Most bytes of parameters in float32, without heads.")] = None,
    budget_ms: Annotated[float | None, Parameter(help="Most milliseconds, by the table of --costs.")] = None,
    costs: Annotated[Path | None, Parameter(help="Cost table of the backbone, as `trunkline costs` writes it.")] = None,
    top: Annotated[int, Parameter(help="How many layouts.")] = 5,
    weights: Annotated[
        Weighing, Parameter(help="How tasks weigh: the release's entropy, Eq. 1 to the letter, alike.")
    ] = "entropy",
    rows: Annotated[Rows, Parameter(help="Whose rows of the table the weights come from.")] = "release",
    layout: Annotated[Path | None, Parameter(help="Score the layouts of a JSON file in place of recommending.")] = None,
    random: Annotated[int, Parameter(help="Draw so many others by chance, to judge the estimates by.")] = 0,
    seed: Annotated[int, Parameter(help="Of that draw.")] = 0,
    explain: Annotated[bool, Parameter(negative="", help="Say which pairs of tasks argue for each branch.")] = False,
    plot: Annotated[Path | None, Parameter(help="PNG to draw: front and trees.")] = None,
    save_plan: Annotated[Path | None, Parameter(help="Folder for the plan of each layout.")] = None,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Recommend trees of blocks by a table of two-task models, without training any."""
    branching = branching_of(branch_merge, branch_after, no_branch_after)
    budgets = LayoutBudgets(budget_models, budget_macs, budget_parameters, budget_bytes, budget_ms, costs)
    found = recommend(
        table,
        backbone,
        blocks=blocks_of(blocks),
        blocks_by=blocks_by,
        budgets=budgets,
        top=top,
        tasks=None if tasks is None else features_of(tasks),
        weighing=weights,
        rows=rows,
        layouts=layout,
        random=random,
        seed=seed,
        options=ReadOptions(parse_size(input_size), limits=limits_of(allow), branching=branching),
    )
    content = found.to_json()
    for note in content["notes"]:
        say(f"note: {note}")
    if plot is not None:
        draw_recommendation(found, plot)
    plans = [] if save_plan is None else found.save_plans(save_plan)
    if json:
        said = {"explanations": [found.explanation(each) for each in found.ranking.layouts]} if explain else {}
        emit_json({**content, **said, "plans": [str(path) for path in plans]})
        return 0
    _show(found, explain=explain)
    for path in plans:
        emit(f"plan    {path}")
    if plot is not None:
        emit(f"picture {plot}")
    return 0


def _show(found: Recommendation, *, explain: bool) -> None:
    ranking = found.ranking
    tasks = found.estimator.table.tasks
    many = f"{with_thousands(ranking.count)} layouts of {len(tasks)} tasks and {len(found.merged.blocks)} blocks"
    fit = "" if ranking.feasible is None else f", {with_thousands(ranking.feasible)} within the budgets"
    emit(f"{many}{fit}")
    weights = zip(tasks, found.estimator.weights, strict=True)
    emit("weights " + ", ".join(f"{task} {weight:.3f}" for task, weight in weights))
    kinds = list(found.merged.costs)
    columns = ("#", "score (%)", *(f"{task} (%)" for task in tasks), *(f"{kind} (%)" for kind in kinds))
    rows = [_row(found, entry, kinds) for entry in ranking.layouts]
    emit_table("Layouts by estimated score; costs against independent models, without heads", columns, rows)
    for number, entry in enumerate(ranking.layouts, start=1):
        emit(f"\n{number}  {_name(entry)}")
        emit(drawn(entry.layout))
        for line in found.explanation(entry) if explain else ():
            emit(line)
    if not found.are_given:
        emit(f"\n{_proof(found)}")


def _proof(found: Recommendation) -> str:
    """Return whether the layouts are known to be the best, and how far others could be."""
    ranking = found.ranking
    bound = "" if ranking.bound is None else f"{ranking.bound:+.3f} %"
    if not ranking.proved:
        return f"not proved optimal: another layout could reach {bound}"
    return f"proved optimal: no other layout scores more than {bound}" if bound else "proved optimal: there is no other"


def _row(found: Recommendation, entry: Recommended, kinds: list[str]) -> list[str]:
    estimates = found.estimator.estimates(entry.layout).values()
    error = found.estimator.error(entry.layout)
    score = f"{entry.score:+.2f}" if error is None else f"{entry.score:+.2f} ± {error:.2f}"
    changes = [f"{found.merged.change_percent(entry.layout, kind):+.2f}" for kind in kinds]
    return [_name(entry), score, *(f"{estimate.percent:+.2f}" for estimate in estimates), *changes]


def _name(entry: Recommended) -> str:
    return "–" if entry.index is None else f"#{entry.index}"
