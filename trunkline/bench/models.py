"""Measure model files: one file a candidate, or several joined by ``+`` as one candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from trunkline.bench.agreement import ReferenceOutputs, difference_from
from trunkline.bench.candidate import Candidate, Macs
from trunkline.bench.compare import Comparison, bench
from trunkline.bench.footprint import Footprint, file_bytes
from trunkline.bench.footprint_process import measure_footprint
from trunkline.bench.parameters import Parameters, parameters_of
from trunkline.bench.protocol import Progress
from trunkline.bench.quantised import is_quantised
from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.inputs import filled_size
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig, InvalidModel, Problem, TrunklineError, did_you_mean, first_line
from trunkline.graph.graph import Graph
from trunkline.graph.input_size import InputSize
from trunkline.graph.owners import nodes_of_heads
from trunkline.limits import DEFAULT_LIMITS, Limits


def bench_files(
    paths: Sequence[Path | str],
    settings: Settings | None = None,
    *,
    runtime: Runtime | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Comparison:
    """Measure model files against the first, each named by its file; see :func:`bench_groups`.

    Args:
        paths: Each a file, or several files joined by ``+`` whose sessions run one after another.
        settings: Batch, image size, provider, threads and how long to measure.
        runtime: What loads the files; ONNX Runtime where not given.
        limits: What a file may ask for to have its work counted.
        progress: Called after each round with the rounds done and the rounds planned.
    """
    return bench_groups(named_groups(paths), settings, runtime=runtime, limits=limits, progress=progress)


def named_groups(paths: Sequence[Path | str]) -> dict[str, tuple[Path, ...]]:
    """Return the files of each candidate, by a short name for it.

    Raises:
        InvalidConfig: There is no path.
        InvalidModel: A file is missing.
    """
    groups = [split_group(path) for path in paths]
    _require_files(groups)
    return dict(zip(names_of(groups), groups, strict=True))


def bench_groups(
    groups: Mapping[str, Sequence[Path]],
    settings: Settings | None = None,
    *,
    runtime: Runtime | None = None,
    limits: Limits = DEFAULT_LIMITS,
    reference: ReferenceOutputs | None = None,
    footprint: bool = False,
    optional: Collection[str] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Measure named candidates against the first.

    Args:
        groups: One file or several by name; several are sessions that run one after another.
        settings: Batch, image size, provider, threads and how long to measure.
        runtime: What loads the files; ONNX Runtime where not given.
        limits: What a file may ask for to have its work counted.
        reference: What outputs are compared with; they are not where it is not given.
        footprint: Measure start-up and memory too, each candidate in a process of its own.
        optional: Names of candidates that are left out, with the reason, where this runtime cannot load them.
        progress: Called after each round with the rounds done and the rounds planned.

    Raises:
        InvalidConfig: A size is given for an axis that no model has.
        InvalidModel: A file cannot be loaded, or the size of an axis is not known.
        WorkFailed: The runtime or provider is not available, or a model does not run or repeat on it.
    """
    settings = settings or Settings()
    runtime = runtime or _onnxruntime()
    left_out: dict[str, str] = {}
    # All sessions are open at once: candidates take turns, so that they meet the same state of the machine.
    with ExitStack() as stack:
        candidates = []
        for name, group in groups.items():
            try:
                candidate = open_candidate(name, group, settings, runtime=runtime, limits=limits, stack=stack)
            except TrunklineError as error:
                if name not in optional:
                    raise
                left_out[name] = first_line(error)
                continue
            if reference is not None:
                candidate = replace(candidate, difference=difference_from(reference, candidate, group, settings))
            if footprint:
                candidate = replace(candidate, footprint=measure_footprint(group, runtime.name, settings, limits))
            candidates.append(candidate)
        _require_meant(settings, candidates)
        return replace(bench(candidates, settings, runtime=runtime.name, progress=progress), left_out=left_out)


def open_candidate(
    name: str,
    models: Sequence[Path | Graph],
    settings: Settings,
    *,
    stack: ExitStack,
    runtime: Runtime | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Candidate:
    """Load the models of one candidate and count their work.

    Args:
        name: The candidate's name.
        models: Files or Graphs; each becomes a session.
        settings: What to run them on.
        stack: Closes the sessions when it is left.
        runtime: What loads them; ONNX Runtime where not given.
        limits: What a file may ask for to have its MACs counted.
    """
    runtime = runtime or _onnxruntime()
    sessions, counts = [], []
    for model in models:
        session = runtime.prepare(model, settings)
        # Entered at once, so that a later model that does not load leaves no session open.
        stack.callback(session.close)
        sessions.append(session)
        counts.append(count_work(model, limits, filled_size(session.inputs) or settings.input_size))
    work, footprint = _sum(counts), Footprint(file_bytes(models))
    macs, parameters = (None, None) if work is None else work
    return Candidate(name, tuple(sessions), macs, parameters, footprint, quantised=is_quantised(models))


Work = tuple[Macs, Parameters]
"""What a model executes for one image, and what it stores."""


def count_work(model: Path | Graph, limits: Limits = DEFAULT_LIMITS, size: InputSize | None = None) -> Work | None:
    """Return what a model executes for one image and stores, or ``None`` where the file is none we can read.

    A file may well run without being one that Trunkline accepts as a model of its own, so this is not an error. What
    belongs to heads is known of models that Trunkline wrote; all of any other file counts as backbone.

    Args:
        model: A file or a Graph.
        limits: What a file may ask for.
        size: The image size that it is measured with, where its file leaves it open.
    """
    from trunkline.graph.cost import node_costs

    try:
        graph = model if isinstance(model, Graph) else _read(model, limits, size)
        costs, parameters = node_costs(graph), parameters_of(graph)
    except (TrunklineError, ValueError):
        # See above: what cannot be read can still be measured.
        return None
    in_heads = nodes_of_heads(graph)
    heads = sum(cost.macs for name, cost in costs.items() if name in in_heads)
    return Macs(sum(cost.macs for cost in costs.values()) - heads, heads), parameters


def split_group(path: Path | str) -> tuple[Path, ...]:
    """Return the files of a candidate; a file whose own name holds a ``+`` is one file."""
    whole = Path(path)
    if whole.exists():
        return (whole,)
    return tuple(Path(part.strip()) for part in str(path).split("+"))


def names_of(groups: Sequence[Sequence[Path]]) -> list[str]:
    """Return a short, distinct name for every candidate: file stems, numbered where they repeat.

    >>> names_of([(Path("a/net.onnx"),), (Path("b/net.onnx"),), (Path("edges.onnx"), Path("depth.onnx"))])
    ['net#1', 'net#2', 'edges+depth']
    """
    names = ["+".join(path.stem for path in group) for group in groups]
    counts, seen = Counter(names), Counter[str]()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(f"{name}#{seen[name]}" if counts[name] > 1 else name)
    return distinct


def _require_files(groups: Sequence[Sequence[Path]]) -> None:
    if not groups:
        raise InvalidConfig("there is nothing to measure", advice="name at least one model file")
    missing = [path for group in groups for path in group if not path.is_file()]
    if missing:
        advice = "check the path; several files of one candidate are joined with +"
        raise InvalidModel([Problem("there is no such file", place=str(path), advice=advice) for path in missing])


def _require_meant(settings: Settings, candidates: Sequence[Candidate]) -> None:
    """Refuse a size for an axis that no model has: a typing mistake would otherwise go unnoticed."""
    inputs = [one.declared for candidate in candidates for one in candidate.inputs]
    if settings.input_size is not None and not any(one.is_image for one in inputs):
        advice = f"give the sizes of its axes with --axis NAME=SIZE; there are: {', '.join(map(str, inputs))}"
        raise InvalidConfig("no model has an input with the four axes of an image", place="--input-size", advice=advice)
    names = {name for one in inputs for name in one.names if name}
    numbered = {one.numbered(axis) for one in inputs for axis in range(len(one.shape))}
    known = names | numbered
    advice = f"free axes with a name: {', '.join(sorted(names)) or 'none'}; any axis is also INPUT:INDEX"
    unknown = [axis for axis in settings.axes if axis not in known]
    problems = [
        Problem(f'no model has an axis "{axis}"', "--axis", did_you_mean(axis, known) or advice) for axis in unknown
    ]
    if problems:
        raise InvalidConfig(problems)


def _sum(counts: Sequence[Work | None]) -> Work | None:
    # A sum that leaves a model out would make its candidate look cheap.
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return None
    return sum((macs for macs, _ in known), Macs(0)), sum((stored for _, stored in known), Parameters(0, 0))


def _onnxruntime() -> Runtime:
    from trunkline.bench.runtimes.ort import OrtRuntime

    return OrtRuntime()


def _read(path: Path, limits: Limits, size: InputSize | None) -> Graph:
    from trunkline.ingest.read import read

    return read(path, limits=limits, input_size=size)
