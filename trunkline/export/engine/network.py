"""From an ONNX file to a TensorRT network with a profile for its free axes; TensorRT-RTX has the same functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem, WorkFailed, did_you_mean
from trunkline.export.engine.options import EngineOptions
from trunkline.export.engine.size_range import SizeRange
from trunkline.export.engine.tensorrt_module import Log
from trunkline.text import escaped

_FREE = -1


def parsed(trt: Any, builder: Any, path: Path, log: Log) -> Any:
    """Return the network of an ONNX file, strongly typed.

    Raises:
        WorkFailed: The parser refuses it; all that it says, with the nodes.
    """
    # TensorRT 11 has no other networks, and takes the flag all the same.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.logger)
    # By its path: weights may lie beside it.
    if not parser.parse_from_file(str(path)):
        found = [parser.get_error(index) for index in range(parser.num_errors)]
        problems = [Problem(escaped(error.desc(), 400), _place(error, path)) for error in found]
        raise WorkFailed(problems or [Problem(log.reason("it cannot be parsed"), str(path))])
    return network


def _place(error: Any, path: Path) -> str:
    name, operator = error.node_name(), error.node_operator()
    node = " ".join(part for part in (operator, f'"{escaped(name)}"' if name else "") if part)
    return f"{path}: {node}" if node else str(path)


def profile_of(builder: Any, network: Any, options: EngineOptions) -> Any:
    """Return the optimisation profile that gives every free axis its range.

    The first axis of an input is its batch.

    Raises:
        InvalidConfig: A free axis has no range, or a range is for an axis that is not free; all of them at once.
    """
    profile, known, problems = builder.create_optimization_profile(), set[str](), list[Problem]()
    for number in range(network.num_inputs):
        value = network.get_input(number)
        spans = []
        for axis, size in enumerate(value.shape):
            names = [name for name in (value.get_dimension_name(axis), f"{value.name}:{axis}") if name]
            span = SizeRange(size, size, size) if size != _FREE else _given(axis, names, options)
            if size == _FREE:
                known.update(names)
            if span is None:
                problems.append(_unsized(value.name, axis, names[0]))
            elif axis == 0 and size != _FREE and options.batch != span != SizeRange():
                text = f'input "{value.name}": its batch is fixed to {size}, not {options.batch}'
                problems.append(Problem(text, "--batch", "export it with a free batch axis, or leave --batch out"))
            spans.append(span or SizeRange())
        profile.set_shape(
            value.name,
            *(tuple(getattr(span, end) for span in spans) for end in ("least", "best", "most")),
        )
    problems += _unknown(options, known)
    if problems:
        raise InvalidConfig(problems)
    return profile


def _given(axis: int, names: list[str], options: EngineOptions) -> SizeRange | None:
    sizes = [options.sizes[name] for name in names if name in options.sizes]
    return sizes[0] if sizes else options.batch if axis == 0 else None


def _unsized(name: str, axis: int, axis_name: str) -> Problem:
    advice = f"give it with --size {axis_name}=LEAST,BEST,MOST"
    return Problem(f'input "{name}": the range of axis {axis} is not known', "--size", advice)


def _unknown(options: EngineOptions, known: set[str]) -> Iterator[Problem]:
    for name in options.sizes:
        if name not in known:
            advice = did_you_mean(name, known) or f"free axes are {', '.join(sorted(known)) or 'none'}"
            yield Problem(f'no input has a free axis "{name}"', "--size", advice)
