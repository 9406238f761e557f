"""A run's folder as its stages leave it, written by hand: a report of it takes no training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SCRIPT = "\"'><script>document.title = 'obeyed'</script><img src=//example.org/x onerror=\"document.title='obeyed'\">"
TERMINAL = "\x1b[31mred\x1b]0;title\x07"
BACKWARDS = "abc\u202egpj.exe\u2066\u200b"
HOSTILE = f"{SCRIPT}{TERMINAL}{BACKWARDS}"
"""A name that a page, a terminal or a reader might obey: markup, ANSI codes, right-to-left marks."""
PARTS = {"macs": 4_000_000, "parameters": 2_000, "activation_bytes": 8}
SEARCH_PARTS = {
    "backbone": PARTS,
    "heads": {**PARTS, "macs": 1_000_000},
    "independent_backbone": {**PARTS, "macs": 8_000_000, "parameters": 4_000},
    "independent": {**PARTS, "macs": 10_000_000, "parameters": 8_000},
}
SPLITS = {
    "choose": {"split": "val", "samples": 2, "from": "folder"},
    "report": {"split": "test", "samples": 2, "from": "folder"},
}


def reported_run(
    folder: Path, *, tasks: Sequence[str] = ("depth", "seg"), name: str = "net", others: Sequence[str] = ("multi-task",)
) -> Path:
    """Write the folder of a run of ``tasks``, whose backbone, unit and commands are called ``name``."""
    units = {f"{name}.{i}": {task: 0 if i < 2 else place for place, task in enumerate(tasks)} for i in range(4)}
    rows = [[[0.9, 0.1] if place == 0 else [0.4, 0.6] for place in range(len(tasks))] for _ in units]
    content: dict[str, Any] = {
        "plan": {"backbone": {"name": name}, "tasks": list(tasks), "method": name, "units": units},
        "policy": {
            "method": name,
            "options": ["shared", "own"],
            "units": list(units),
            "tasks": list(tasks),
            "probabilities": rows,
            "correlation": {one: {other: 1.0 if one == other else 0.5 for other in tasks} for one in tasks},
        },
        "search": {"parts": SEARCH_PARTS, "tasks": list(tasks), "sites": {}},
        "train": trained("model", tasks),
        **{f"train-{i}": trained(other, tasks) for i, other in enumerate(["single-task", *others])},
        "export": exported(tasks),
        "bench": measured(["single-task", *others, "model"], reason=name),
        "delta": {
            other: {**dict.fromkeys(tasks, -2.0), "mean": -2.0 - i} for i, other in enumerate(["model", *others])
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in content.items():
        (folder / f"{key}.json").write_text(json.dumps(value))
    for stage in ("search", "train"):
        write_stage(folder / stage, tasks, name)
    Image.new("RGB", (64, 48), (200, 80, 30)).save(folder / "predictions.png")
    return folder


def trained(name: str, tasks: Sequence[str]) -> dict[str, Any]:
    """What the training of a model leaves."""
    return {
        "name": name,
        "metrics": {task: {"rmse": 0.25} for task in tasks},
        "splits": SPLITS,
        "best_by": None,
        "alike": True,
        "steps": {"search": 0, "train": 4},
        "shares": {},
    }


def exported(tasks: Sequence[str], *, passed: bool = True) -> dict[str, Any]:
    """What an export leaves."""
    output = {"max_abs": 1e-6, "max_rel": 2e-7, "tolerance": 1e-4, "passed": passed}
    outputs = [{"name": task, **output} for task in tasks]
    return {"file_bytes": 1_250_000, "parity": {"passed": passed, "inputs": 2, "outputs": outputs}}


def measured(names: Sequence[str], reason: str = "") -> dict[str, Any]:
    """A measurement in which each model is faster than the one before; the last is not steady, for ``reason``."""
    models = []
    for i, name in enumerate(names):
        p50, steady = 10.0 / (i + 1), i + 1 < len(names)
        models.append(
            {
                "name": name,
                "p50_ms": p50,
                "p50_ci_ms": [0.9 * p50, 1.2 * p50],
                "provider": "cpu",
                "threads": 1,
                "samples": 11,
                "stable": steady,
                "reason": "" if steady else f"{reason} was disturbed",
                "macs": 100,
                "macs_ratio": 1 / (i + 1),
                "time_over_bound": 1.0,
                "runtime": {"runtime": "onnxruntime 1.0"},
            }
        )
    ratios = [
        {
            "name": name,
            "against": names[0],
            "ratio": 1 / (i + 1),
            "ci": [0.9 / (i + 1), 1.1 / (i + 1)],
            "speed_up": i + 1.0,
            "stable": models[i]["stable"],
            "reason": models[i]["reason"],
        }
        for i, name in enumerate(names)
        if i
    ]
    environment = {"cpu": "a processor", "cores": 2, "gpu": "", "versions": {"python": "3"}}
    return {"models": models, "ratios": ratios, "environment": environment, "settings": {"batch": 1}}


def write_stage(folder: Path, tasks: Sequence[str], name: str) -> None:
    """Write the log, the settings and the sessions of a stage."""
    folder.mkdir()
    records = []
    for step in range(1, 5):
        records.append({"kind": "step", "phase": name, "step": step, "losses": dict.fromkeys(tasks, 1.0 / step)})
        row = [0.5 + step / 10, 0.5 - step / 10]
        choices = {task: {f"{name}.{i}": row for i in range(4)} for task in tasks}
        records.append({"kind": "policy", "phase": name, "step": step, "probabilities": choices})
        metrics = {task: {"rmse": 1.0 / step} for task in tasks}
        records.append({"kind": "evaluation", "phase": name, "step": step, "metrics": metrics})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "config.json").write_text(json.dumps({"backbone": name}))
    session = {"started": "2026-01-01", "command": f"trunkline run {name}", "seed": 0, "versions": {"python": "3"}}
    (folder / "sessions.json").write_text(json.dumps({"sessions": [session, session]}))


def reported_comparison(folder: Path, *, names: Sequence[str] = ("single-task", "multi-task", "mine")) -> Path:
    """Write the folder of a comparison in which each way of sharing is cheaper and worse than the one before."""
    folder.mkdir(parents=True)
    methods = [summary(name, 0.0 - i, 1.0 - i / 4, 9.0 - 2 * i) for i, name in enumerate(names)]
    content = {
        "backbone": "net",
        "tasks": ["depth"],
        "runs": {"done": 5, "all": 6},
        "rows": [{"method": name, "seed": seed, "file_bytes": 1_000_000} for name in names for seed in range(2)],
        "methods": methods,
        "judged": {"mean": {"n": 3, "pearson": mean(0.5), "spearman": None}},
        "rankings": [],
    }
    content["judged"]["mean"]["pearson"]["value"] = 0.5
    (folder / "compare.json").write_text(json.dumps(content))
    plan = {"backbone": {"name": "net"}, "method": "m", "tasks": ["depth", "seg"]}
    for number, name in enumerate(names):
        run = folder / "runs" / name.replace(":", "-") / "seed-0"
        run.mkdir(parents=True)
        units = {f"conv{i}": {"depth": 0, "seg": number} for i in range(2)}
        (run / "plan.json").write_text(json.dumps({**plan, "units": units}))
    return folder


def mean(value: float, margin: float = 0.5) -> dict[str, Any]:
    """A mean over seeds."""
    return {"mean": value, "low": value - margin, "high": value + margin, "least": value, "most": value, "seeds": 2}


def summary(name: str, change: float, macs: float, ms: float) -> dict[str, Any]:
    """The summary of a way of sharing, as `compare` gives it."""
    counted = ("parameters", "parameters_share", "paper_parameters", "paper_parameters_share", "speed_up")
    return {
        "method": name,
        "decided_by": name.partition(":")[0],
        "macs": mean(macs * 1e6),
        "macs_share": mean(macs),
        "latency_ms": mean(ms),
        **{key: mean(0.5) for key in counted},
        **{key: mean(2.0) for key in ("search_seconds", "search_peak_bytes", "train_seconds")},
        "stable": True,
        "alike": name != "mine",
        "left_out": [],
        "metrics": {"depth": {"rmse": mean(0.25)}},
        "delta": {"depth": mean(change), "mean": mean(change)},
        "over_cuts": None,
        "over_best_cut": None,
        "over_random": None,
    }
