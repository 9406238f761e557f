"""Give every axis of a model's inputs a size: the file's own, or a given one. An axis without either is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trunkline.bench.runtimes.inputs import Declared, FedInput
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidModel, Problem
from trunkline.graph.input_size import InputSize, channels_of, pixels_of

Sizes = Sequence[int | None]


def fill(declared: Sequence[Declared], settings: Settings, *, place: str) -> tuple[FedInput, ...]:
    """Return a model's inputs with the size of every axis.

    A free axis gets its size from the first of these that has one:

    1. ``settings.axes``, by the axis' name or number;
    2. ``settings.input_size``, for the channels, height and width of an image;
    3. ``settings.batch``, for the first axis.

    Args:
        declared: All inputs of one model.
        settings: Batch, image size and axes.
        place: The model, for the messages.

    Raises:
        InvalidModel: Axes are fixed to other sizes than the given ones, or are still free; all of them at once.
    """
    sizes = [_filled_sizes(one, settings) for one in declared]
    pairs = list(zip(declared, sizes, strict=True))
    problems = [problem for one in declared for problem in _fixed_axes(one, settings)]
    problems += [*_other_images(pairs, settings.input_size), *_other_batches(pairs, settings.batch)]
    # Sizes that do not fit come first: they may also be why an axis is still free.
    problems = problems or [_free_axes(one, found) for one, found in pairs if None in found]
    if problems:
        raise InvalidModel([Problem(problem.message, place, problem.advice) for problem in problems])
    return tuple(FedInput(one, tuple(size for size in found if size is not None)) for one, found in pairs)


def _filled_sizes(one: Declared, settings: Settings) -> list[int | None]:
    """Return the size of each axis by the rules of :func:`fill`; ``None`` where there is none."""
    sizes = one.sizes
    # Rule 1.
    for axis, name in enumerate(one.names):
        if sizes[axis] is None:
            sizes[axis] = settings.axes.get(name, settings.axes.get(one.numbered(axis)))
    # Rule 2; but not halfway: an image that is fixed to other sizes is another image of the model.
    if one.is_image and not _differences(one, sizes, settings.input_size):
        for axis, given in zip(one.image_axes, _given(settings.input_size), strict=True):
            sizes[axis] = sizes[axis] or given
    # Rule 3; a scalar has no axes.
    if sizes:
        sizes[0] = sizes[0] or settings.batch
    return sizes


def _given(size: InputSize | None) -> tuple[int | None, int | None, int | None]:
    """Return channels, height and width, each ``None`` where it is not given."""
    height, width = pixels_of(size) or (None, None)
    return channels_of(size), height, width


def _differences(one: Declared, sizes: Sizes, size: InputSize | None) -> list[str]:
    """Return, in words, which sizes of an image are known to be others than those of ``size``."""
    words = ("channels", "height", "width")
    differences = []
    for word, axis, given in zip(words, one.image_axes, _given(size), strict=True):
        if None not in (sizes[axis], given) and sizes[axis] != given:
            differences.append(f"{word} {sizes[axis]}, not {given}")
    return differences


def _fixed_axes(one: Declared, settings: Settings) -> Iterator[Problem]:
    for axis, size in enumerate(one.sizes):
        given = settings.axes.get(one.numbered(axis), size)
        if given != size and size is not None:
            yield Problem(f"{one}: axis {axis} is fixed to {size}, not {given}", advice="leave this --axis out")


def _free_axes(one: Declared, sizes: Sizes) -> Problem:
    names = [one.names[axis] or one.numbered(axis) for axis, size in enumerate(sizes) if size is None]
    what = "the size of this axis is" if len(names) == 1 else "the sizes of these axes are"
    return Problem(f"{one}: {what} not known: {', '.join(names)}", advice=_advice(one, names))


def _advice(one: Declared, names: Sequence[str]) -> str:
    by_name = " ".join(f"--axis {name}=SIZE" for name in names)
    if not one.is_image:
        return f"give it with {by_name}"
    channels = one.sizes[one.image_axes[0]]
    return f"give it with --input-size {'H,W' if channels else 'C,H,W'}, or with {by_name}"


def _other_images(pairs: Sequence[tuple[Declared, Sizes]], size: InputSize | None) -> list[Problem]:
    """Return the images that are not of the given size, where a model has images and none of them is."""
    images = [(one, _differences(one, sizes, size)) for one, sizes in pairs if one.is_image]
    if any(not differences for _, differences in images):
        return []
    advice = "give the file's own size, or convert it to another first: `trunkline convert --input-size`"
    return [Problem(f"{one} has {', '.join(differences)}", advice=advice) for one, differences in images]


def _other_batches(pairs: Sequence[tuple[Declared, Sizes]], batch: int) -> list[Problem]:
    """Return the inputs whose first axis is fixed to another size than the batch, where that is a fault.

    The first axis of an image is the batch. Another input's may be something else, as in ``[layers, N, C]``; but a
    batch of more than 1 was set by the user, so it must be that of some input.
    """
    others = [(one, sizes[0]) for one, sizes in pairs if sizes and sizes[0] != batch]
    is_nowhere = batch > 1 and len(others) == len(pairs)
    problems = []
    for one, size in others:
        if one.is_image or is_nowhere:
            text = f"{one}: batch {batch} was asked for, and its first axis is {size}"
            advice = f"measure it with --batch {size}, or export it with a free batch axis"
            problems.append(Problem(text, advice=advice))
    return problems
