"""Give every axis of a model's inputs a size: the file's own, or what was asked for. What neither says is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trunkline.bench.runtimes.inputs import Declared, FedInput
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidModel, Problem
from trunkline.graph.input_size import InputSize, channels_of, pixels_of

Sizes = Sequence[int | None]


def fill(declared: Sequence[Declared], settings: Settings, *, place: str) -> tuple[FedInput, ...]:
    """Return a model's inputs with the size of every axis.

    A free axis gets what ``settings.axes`` says; else, in an image, what ``settings.input_size`` says; else, if it is
    the first, the batch.

    Args:
        declared: All inputs of one model.
        settings: Batch, image size and axes.
        place: The model, for the messages.

    Raises:
        InvalidModel: Axes are fixed to other sizes than were asked for, or are still free; all of them at once.
    """
    sizes = [_sizes(one, settings) for one in declared]
    pairs = list(zip(declared, sizes, strict=True))
    problems = [problem for one in declared for problem in _fixed_axes(one, settings)]
    problems += [*_other_images(pairs, settings.input_size), *_other_batches(pairs, settings.batch)]
    problems = problems or [_free_axes(one, found) for one, found in pairs if None in found]
    if problems:
        raise InvalidModel([Problem(problem.message, place, problem.advice) for problem in problems])
    return tuple(FedInput(one, tuple(size for size in found if size is not None)) for one, found in pairs)


def _sizes(one: Declared, settings: Settings) -> list[int | None]:
    sizes = one.sizes
    for axis, name in enumerate(one.names):
        if sizes[axis] is None:
            sizes[axis] = settings.axes.get(name, settings.axes.get(one.numbered(axis)))
    if one.is_image and not _differences(one, sizes, settings.input_size):
        for axis, asked in zip(one.image_axes, _asked(settings.input_size), strict=True):
            sizes[axis] = sizes[axis] or asked
    if sizes:
        sizes[0] = sizes[0] or settings.batch
    return sizes


def _asked(size: InputSize | None) -> tuple[int | None, int | None, int | None]:
    """Return channels, height and width, each ``None`` where it was not asked for."""
    height, width = pixels_of(size) or (None, None)
    return channels_of(size), height, width


def _differences(one: Declared, sizes: Sizes, size: InputSize | None) -> list[str]:
    """Say which sizes of an image are known to be others than those of ``size``."""
    words = ("channels", "height", "width")
    return [
        f"{word} {sizes[axis]}, not {asked}"
        for word, axis, asked in zip(words, one.image_axes, _asked(size), strict=True)
        if None not in (sizes[axis], asked) and sizes[axis] != asked
    ]


def _fixed_axes(one: Declared, settings: Settings) -> Iterator[Problem]:
    for axis, size in enumerate(one.sizes):
        asked = settings.axes.get(one.numbered(axis), size)
        if asked != size and size is not None:
            yield Problem(f"{one}: axis {axis} is fixed to {size}, not {asked}", advice="leave this --axis out")


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
    """Where a model has images, one of them must be of the size that was asked for."""
    images = [(one, _differences(one, sizes, size)) for one, sizes in pairs if one.is_image]
    if any(not differences for _, differences in images):
        return []
    advice = "give the file's own size, or convert it to another first: `trunkline convert --input-size`"
    return [Problem(f"{one} has {', '.join(differences)}", advice=advice) for one, differences in images]


def _other_batches(pairs: Sequence[tuple[Declared, Sizes]], batch: int) -> list[Problem]:
    """The first axis of an image is the batch. Another input's may be something else, as in ``[layers, N, C]``.

    But a batch that somebody asked for must be that of some input.
    """
    others = [(one, sizes[0]) for one, sizes in pairs if sizes and sizes[0] != batch]
    nowhere = batch > 1 and len(others) == len(pairs)
    return [
        Problem(
            f"{one}: batch {batch} was asked for, and its first axis is {size}",
            advice=f"measure it with --batch {size}, or export it with a free batch axis",
        )
        for one, size in others
        if one.is_image or nowhere
    ]
