"""`trunkline compare` as a user meets it: ways of sharing and seeds in one table; killed at any point, it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from commands import Said, contents, ended, invoke, pipeline, refused, spawn
from documented_json import check_keys, only_json
from filelock import FileLock
from job_work import job_processes

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.limits import Limits
from trunkline.pipeline.config import load_config
from trunkline.pipeline.one_variant import with_variant
from trunkline.report.comparison_csv import csv_of
from trunkline.sharing.plan import SharingPlan
from trunkline.train.jobs.local_workers import LocalWorkers
from trunkline.train.tasks.relative import relative_performance
from trunkline.verbs.compare_job import CompareJob

pytestmark = pytest.mark.abuse

METHODS = ("multi-task", "share-until:2", "fewer")
VARIANT = """\
[variants.fewer]
method = "automtl"
regularization = 0.5

[variants.distilled-too-little]
method = "distilled"
max_macs = 0.1

[export]"""


class Finished(NamedTuple):
    """A finished comparison; nobody may change its folder."""

    pipeline: Path
    out: Path
    said: Said


def compared(path: Path, out: Path, *more: object, methods: tuple[str, ...] = METHODS) -> Said:
    """Run the command in this process; its runs have processes of their own."""
    return invoke("compare", path, "--out", out, "--methods", ",".join(methods), *more)


def file_of(folder: Path) -> Path:
    return pipeline(folder, ("[export]", VARIANT))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Three ways of sharing beside single-task models, two seeds each."""
    folder = tmp_path_factory.mktemp("compared")
    path = file_of(folder)
    return Finished(
        path, folder / "out", compared(path, folder / "out", "--seeds", 2, "--jobs", 2, "--quiet", "--json")
    )


def test_its_json_is_documented(finished: Finished) -> None:
    """Every key is in docs/json.md; what is printed is what is kept, and what is in the CSV."""
    content = only_json(finished.said)
    check_keys("compare", content)
    kept = json.loads((finished.out / "compare.json").read_text())
    assert {key: content[key] for key in kept} == kept
    assert (finished.out / "compare.csv").read_text() == csv_of(content["rows"])


def test_a_row_for_every_run(finished: Finished) -> None:
    """Seed by seed, single-task first; all with parity, and trained alike."""
    rows = only_json(finished.said)["rows"]
    names = ["single-task", *METHODS]
    assert [(row["method"], row["seed"]) for row in rows] == [(name, seed) for seed in (3, 4) for name in names]
    assert all(row["parity"] and row["alike"] for row in rows)
    assert [row["decided_by"] for row in rows[:4]] == ["single-task", "multi-task", "share-until", "automtl"]
    assert {row["steps"]["train"] for row in rows} == {4}


def folders(finished: Finished, row: Any) -> Path:
    return finished.out / "runs" / row["method"].replace(":", "-") / f"seed-{row['seed']}"


def test_a_rows_numbers_are_its_runs(finished: Finished) -> None:
    """Metrics, MACs of the file, Δ against the single-task run of the same seed, the options of the variant."""
    rows = only_json(finished.said)["rows"]
    alone = {row["seed"]: row["metrics"] for row in rows if row["method"] == "single-task"}
    directions = only_json(finished.said)["directions"]
    for row in rows:
        folder = folders(finished, row)
        assert row["metrics"] == json.loads((folder / "train.json").read_text())["metrics"]
        assert row["macs"] == count_file(folder / "model.onnx").macs
        assert row["delta"] == relative_performance(row["metrics"], alone[row["seed"]], directions).to_json()
    config = json.loads((finished.out / "runs/fewer/seed-3/search/config.json").read_text())
    assert config["search"]["regularization"] == 0.5


def test_all_see_the_same_data_and_starts(finished: Finished) -> None:
    """The same samples; another seed, another result."""
    records = {json.dumps(json.loads(path.read_text())) for path in finished.out.glob("runs/*/seed-*/data.json")}
    assert len(records) == 1
    losses = [row["metrics"] for row in only_json(finished.said)["rows"] if row["method"] == "multi-task"]
    assert losses[0] != losses[1]


def test_latency_is_measured_in_turns(finished: Finished) -> None:
    """Fixed ways have one structure for all seeds, so they are measured once; speed-ups are against one file a task."""
    content = only_json(finished.said)
    bench = json.loads((finished.out / "bench.json").read_text())
    (measurement,) = bench["measurements"]
    assert measurement["models"][0]["name"] == "single-task"
    rows = {(row["method"], row["seed"]): row for row in content["rows"]}
    assert rows["multi-task", 3]["latency_ms"] == rows["multi-task", 4]["latency_ms"]
    assert rows["single-task", 3]["speed_up"] == 1.0
    assert len(measurement["models"]) == len({row["latency_ms"] for row in content["rows"]})


def test_called_again_it_trains_nothing(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is read; every file but the reports stays as it was."""
    before = contents(finished.out)
    monkeypatch.setattr(LocalWorkers, "run", None)  # called, it would fail
    again = compared(finished.pipeline, finished.out, "--seeds", 2, "--json")
    assert only_json(again) == only_json(finished.said)
    assert contents(finished.out) == before


def test_seeds_and_methods_may_be_left_out(finished: Finished) -> None:
    """A part of a comparison is reported from what is there; the rows are the same."""
    part = only_json(compared(finished.pipeline, finished.out, "--seeds", 1, "--so-far", "--json", methods=("fewer",)))
    whole = only_json(finished.said)["rows"]
    keys = ("method", "seed", "metrics", "delta", "macs")
    of_part = [{key: row[key] for key in keys} for row in part["rows"]]
    assert of_part == [{key: row[key] for key in keys} for row in (whole[0], whole[3])]


def test_the_tables_on_the_terminal(finished: Finished) -> None:
    said = compared(finished.pipeline, finished.out, "--seeds", 2)
    assert said.code == 0
    assert "What sharing costs" in said.out and "share-until:2" in said.out and "compare.md" in said.out


def test_so_far_while_another_is_at_work(finished: Finished) -> None:
    """Which is when one wants to know; another comparison in the folder is refused meanwhile."""
    with FileLock(finished.out / ".lock"):
        assert compared(finished.pipeline, finished.out, "--seeds", 2, "--so-far").code == 0
        refused(compared(finished.pipeline, finished.out, "--seeds", 2), "another process")


def test_another_bench_trains_nothing(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """How latency is measured decides nothing of a run: it is measured again, and that is all."""
    changed = finished.pipeline.parent / "other_bench.toml"
    changed.write_text(finished.pipeline.read_text().replace("samples = 11", "samples = 12"))
    monkeypatch.setattr(LocalWorkers, "run", None)  # called, it would fail
    assert compared(changed, finished.out, "--seeds", 2).code == 0


def test_a_plan_that_is_not_there_binds_nothing(tmp_path: Path) -> None:
    """The run that was to find it has failed: the one that rests on it says so, and may go on when there is one."""
    missing = '[variants.mine]\nmethod = "plan"\nfile = "missing.json"\n\n[export]'
    config = load_config(pipeline(tmp_path, ("[export]", missing)))
    run = CompareJob("mine", with_variant(config, config.variants["mine"], 0), tmp_path / "run", Limits())
    with pytest.raises(InvalidConfig, match=r"missing\.json"):
        run()
    assert run.changes() == [] and not (tmp_path / "run/settings.json").exists()


def test_a_changed_file_is_another_run(tmp_path: Path) -> None:
    """A layout is compared by what it says: another one in the same file is refused, not taken for the old one."""
    layout = tmp_path / "layout.json"
    layout.write_text(json.dumps([[["segmentation", "depth"]]] * 7))
    variant = '[variants.mine]\nmethod = "layout"\nfile = "layout.json"\n\n[export]'
    path = pipeline(tmp_path, ("[export]", variant))
    run = CompareJob("mine", with_variant(config := load_config(path), config.variants["mine"], 0), tmp_path, Limits())
    before = run.digest
    layout.write_text(json.dumps([[["segmentation"], ["depth"]]] * 7))
    assert run.digest != before


def test_a_run_and_a_comparison_are_apart(finished: Finished, tmp_path: Path) -> None:
    """Each would replace files of the other."""
    refused(invoke("run", finished.pipeline, "--out", finished.out), "holds a comparison")
    run = finished.out / "runs/multi-task/seed-3"
    refused(compared(finished.pipeline, run), "holds a run")


def test_all_failed(tmp_path: Path) -> None:
    """The reasons are told, not only that nothing is done."""
    path, out = file_of(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "runs").write_text("in the way")
    said = compared(path, out, "--seeds", 1, methods=("multi-task",))
    assert said.code in (2, 3) and "runs" in said.err and "no run is done yet" not in said.err, said.err


LIKE = """\
[variants.like]
method = "random"
like = "found:fewer"
tolerance = 1.0

[variants.again]
method = "plan"
file = "found:like"

[variants.fewer]"""


@pytest.mark.slow  # several whole runs
def test_a_plan_that_another_finds(tmp_path: Path) -> None:
    """Each seed has its own; the run waits until there is one, and what cannot be waited for is refused."""
    path, out = file_of(tmp_path), tmp_path / "out"
    path.write_text(path.read_text().replace("[variants.fewer]", LIKE))
    refused(compared(path, out, methods=("like",)), "like: like: found:fewer", "name it too")
    refused(compared(path, out, methods=("like", "fewer", "again")), "again: file: found:like rests on")
    said = compared(path, out, "--seeds", 1, "--jobs", 2, "--quiet", methods=("like", "fewer"))
    assert said.code == 0, said.err
    bound = json.loads((out / "runs/like/seed-3/settings.json").read_text())
    plan = (out / "runs/fewer/seed-3/plan.json").read_bytes()
    assert bound["search"]["like"] == hashlib.sha256(plan).hexdigest()
    content = json.loads((out / "compare.json").read_text())
    delta = {row["method"]: row["delta"]["mean"] for row in content["rows"]}
    over = {method["method"]: method["over_random"] for method in content["methods"]}
    assert over["fewer"]["mean"] == pytest.approx(delta["fewer"] - delta["like"])
    assert over["like"] is None and over["single-task"] is None


def test_so_far_needs_a_run(tmp_path: Path) -> None:
    said = compared(file_of(tmp_path), tmp_path / "out", "--so-far")
    refused(said, "no run is done yet", code=3)


def test_other_settings_are_refused(finished: Finished, tmp_path: Path) -> None:
    """A comparison is of one pipeline; a variant's other option is refused too, before anything is trained."""
    changed = finished.pipeline.parent / "changed.toml"
    changed.write_text(finished.pipeline.read_text().replace("length = 16", "length = 12"))
    refused(compared(changed, finished.out), "data.length", "is 12, but the run began with 16")
    changed.write_text(finished.pipeline.read_text().replace("regularization = 0.5", "regularization = 0.25"))
    before = contents(finished.out)
    refused(
        compared(changed, finished.out, methods=("fewer",)),
        "fewer: search.regularization: is 0.25, but the run began with 0.5",
    )
    assert contents(finished.out) == before


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("--methods", "automlt"), ("no method and no variant", "did you mean", "automtl")),
        (("--methods", "multi-task,,automtl"), ("empty name",)),
        (("--methods", "share-until:nowhere"), ("share-until:nowhere", "nowhere")),
        (("--methods", "layout"), ("layout", "file")),
        (("--methods", "single-task"), ("nothing to compare",)),
        (("--methods", "distilled-too-little"), ("distilled-too-little", "max_macs", "or more")),
        (("--seeds", "0"), ("--seeds",)),
        (("--jobs", "0"), ("--jobs",)),
        (("--methods", "share-until:2,share-until:stage1_block2_conv1"), ("would have one folder",)),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, arguments: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    """Refused before anything is trained, or written."""
    refused(invoke("compare", file_of(tmp_path), "--out", tmp_path / "out", *arguments), *fragments)
    assert not list((tmp_path / "out").glob("runs/*/seed-*"))


@pytest.mark.slow  # of the same workers, tests/train/test_jobs_abuse.py has this in the default suite
def test_a_kill_costs_one_run(tmp_path: Path) -> None:
    """A run that dies is named; the others are done and reported, and the next call does that one alone."""
    path, out = file_of(tmp_path), tmp_path / "out"
    process = spawn("compare", path, "--out", out, "--methods", "fewer,multi-task", "--seeds", 1, cwd=tmp_path)
    log = out / "runs/fewer/seed-3.log"
    wait_for(lambda: log.exists() and "pre 1/" in log.read_text() or (out / "runs/fewer/seed-3/search").exists())
    os.kill(child_of(process.pid), signal.SIGKILL)
    said = ended(process)
    assert said.code == 3 and "Traceback" not in said.err
    assert "fewer seed 3: ended by SIGKILL" in said.err and "called again" in said.err
    assert "What sharing costs" in said.out
    rows = (out / "compare.csv").read_text().splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == ["single-task", "multi-task"]
    again = invoke("compare", path, "--out", out, "--methods", "fewer,multi-task", "--seeds", 1)
    assert again.code == 0, again.err
    assert "1 of 3 runs to be done" in again.err
    assert SharingPlan.load(out / "runs/fewer/seed-3/plan.json").method == "automtl"


@pytest.mark.slow  # of the same workers, tests/train/test_jobs_abuse.py has this in the default suite
def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    """The run that was on saves; what was done stays done."""
    path, out = file_of(tmp_path), tmp_path / "out"
    process = spawn("compare", path, "--out", out, "--methods", "multi-task", "--seeds", 3, cwd=tmp_path)
    wait_for((out / "runs/single-task/seed-3/job.json").exists)
    process.send_signal(signal.SIGINT)
    said = ended(process)
    assert said.code == 130 and "Traceback" not in said.err, said.err
    assert (out / "runs/single-task/seed-3/job.json").exists()


def child_of(pid: int) -> int:
    """Return the process that does a run."""
    wait_for(lambda: bool(job_processes(pid)))
    (found,) = job_processes(pid)
    return found


def wait_for(ready: Any) -> None:
    deadline = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_a_page_about_a_comparison(finished: Finished, tmp_path: Path) -> None:
    """Beside one of its runs; every way of sharing is in the first table, with what lies on the front drawn."""
    run = finished.out / "runs" / "fewer" / f"seed-{load_config(finished.pipeline).seed}"
    before = contents(finished.out)
    said = invoke("report", finished.out, run, "--out", tmp_path / "report.html", "--json")
    table = only_json(said)["tables"][0]
    names = [row[0] for row in table["rows"]]
    assert names == ["single-task", *METHODS, "model"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for what in ("Accuracy against latency", "Accuracy against work", "Layouts of what lies on the front"):
        assert what in text
    assert f"fewer/{run.name}" in text
    assert contents(finished.out) == before
