"""What a run found, in plain words, for someone who has not read the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.report.run_files import RunFiles, in_form
from trunkline.report.trade_off import FOUND, SINGLE_TASK

Json = Mapping[str, Any]
_FAILED = "FAILED parity"


def run_summary(files: RunFiles) -> tuple[str, ...]:
    """Return sentences on what the run's model is, saves, costs, and whether its file can be trusted."""
    said: list[str] = []
    tellers = {"plan": _model, "search": _work, "bench": _latency, "train": _accuracy, "export": _file}
    for name, tell in tellers.items():
        if files.found[name]:
            with in_form(files.folder / f"{name}.json"):
                said += tell(files)
    # A file that is wrong is what a reader must know before all else.
    return tuple(sorted(said, key=lambda sentence: _FAILED not in sentence))


def _model(files: RunFiles) -> Iterator[str]:
    plan = files.found["plan"]
    tasks, backbone, method = list(plan["tasks"]), plan["backbone"]["name"], plan["method"]
    yield f"One model does {_count(len(tasks), 'task')}: {_listed(tasks)}."
    yield f"Its backbone is {backbone}; the method {method} decided who shares what."


def _work(files: RunFiles) -> Iterator[str]:
    search = files.found["search"]
    parts = search["parts"]
    whole = {key: parts["backbone"][key] + parts["heads"][key] for key in ("macs", "parameters")}
    macs = whole["macs"] / max(1, parts["independent"]["macs"])
    parameters = whole["parameters"] / max(1, parts["independent"]["parameters"])
    yield (
        f"It executes {_percent(macs)} of the multiply-accumulates of {len(search['tasks'])} separate models, "
        f"and stores {_percent(parameters)} of their parameters."
    )


def _latency(files: RunFiles) -> Iterator[str]:
    bench = files.found["bench"]
    own = next((model for model in bench["models"] if model["name"] == FOUND), None)
    ratio = next((ratio for ratio in bench["ratios"] if ratio["name"] == FOUND), None)
    if own is None:
        return
    text = f"It takes {own['p50_ms']:.2f} ms an image (median; {own['provider']}, {own['threads']} threads)"
    if own["threads"] == 1:
        text = text.replace("1 threads", "1 thread")
    if ratio is not None:
        # The interval is of the ratio of times; a speed-up is its inverse, so the ends change places.
        high, low = (1 / end for end in ratio["ci"])
        text += f", {ratio['speed_up']:.2f} times as fast as {ratio['against']} (99 % interval {low:.2f} to {high:.2f})"
    yield text + "."
    if ratio is not None and not ratio["stable"]:
        yield f"That measurement was not steady, so do not rely on it: {ratio['reason']}."


def _accuracy(files: RunFiles) -> Iterator[str]:
    delta = (files.found["delta"] or {}).get(FOUND)
    train = files.found["train"]
    if delta is None:
        yield f"It was not trained next to {SINGLE_TASK} models, so what sharing costs in accuracy is not known."
    else:
        tasks = [f"{task} {value:+.1f} %" for task, value in delta.items() if task != "mean" and value is not None]
        if delta["mean"] is not None:
            way = "better" if delta["mean"] >= 0 else "worse"
            yield (
                f"Averaged over metrics it is {abs(delta['mean']):.1f} % {way} than {SINGLE_TASK} models of the same "
                f"data (Δ; {', '.join(tasks)})."
            )
            yield (
                "That is one training with one seed; how far Δ moves from seed to seed, a comparison over seeds tells."
            )
    if delta is not None and not train["alike"]:
        yield "It was not trained like its baselines, so Δ is not due to sharing alone; below is what differed."


def _file(files: RunFiles) -> Iterator[str]:
    export = files.found["export"]
    parity = export["parity"]
    size = f"{export['file_bytes'] / 1e6:.2f} MB"
    if parity["passed"]:
        most = max((output["max_rel"] or 0.0 for output in parity["outputs"]), default=0.0)
        yield (
            f"The exported file of {size} computes what was trained: on {parity['inputs']} inputs its outputs differ "
            f"from the trained model in float64 by at most {most:.1e} of their largest magnitude."
        )
    else:
        yield f"The exported file of {size} {_FAILED}: it does not compute what was trained. Do not deploy it."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
