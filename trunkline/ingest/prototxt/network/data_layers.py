"""Data layers: which they are, how large their image is, and which of their blobs are labels."""

from __future__ import annotations

from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.text.fields import Fields

DATA_LAYERS = frozenset(
    {
        "AnnotatedData",
        "Data",
        "DenseImageData",
        "DummyData",
        "HDF5Data",
        "ImageData",
        "ImageSegData",
        "MemoryData",
        "VideoData",
        "WindowData",
    }
)

_OWN_BLOCKS = (
    "dense_image_data_param",
    "dummy_data_param",
    "hdf5_data_param",
    "image_data_param",
    "memory_data_param",
    "window_data_param",
)
_LABEL_WORDS = ("label", "target", "truth")
_CHANGES = ("scale", "mean_file", "mean_value")


def is_data(layer: LayerText) -> bool:
    """Whether a layer reads images from a file or from memory.

    A Python layer without bottoms does, and so does what a fork calls SomethingData.
    """
    return layer.type in DATA_LAYERS or (not layer.bottoms and layer.type.endswith(("Data", "DataLayer", "Python")))


def labels_of(layer: LayerText) -> frozenset[str]:
    """Return the blobs of a data layer that are labels, recognised by their names."""
    # Caffe's own data layers write the image first, so a first blob needs the plain word to count as a label.
    first = {name for name, _ in layer.tops[:1] if "label" in name.lower()}
    later = {name for name, _ in layer.tops[1:] if _is_label_name(name)}
    return frozenset(first | later)


def _is_label_name(name: str) -> bool:
    return name == "gt" or any(word in name.lower() for word in _LABEL_WORDS)


def changes_of(layer: LayerText) -> list[str]:
    """Return the settings by which a data layer changes the numbers of an image, as written."""
    changes = []
    # Before transform_param came, the data layer's own block held these settings.
    for block in (layer.fields.block("transform_param"), layer.fields.block(_own_block(layer))):
        for name in _CHANGES:
            values = [value for value, _ in block.strings(name)]
            if values:
                changes.append(" ".join([name, *values]))
    return changes


def shape_of_image(layer: LayerText) -> tuple[int, ...]:
    """Return ``(N, C, H, W)`` if the layer gives it, or an empty tuple: then each image's file decides."""
    transform, own = layer.fields.block("transform_param"), layer.fields.block(_own_block(layer))
    if layer.type == "MemoryData" and own.has("height"):
        return tuple(own.integer(name, 1) for name in ("batch_size", "channels", "height", "width"))
    if layer.type == "DummyData" and (own.has("shape") or own.has("height")):
        return _dummy_shape(own)
    # A crop is taken after resizing to new_height x new_width, so it decides where a file has both.
    crop = transform.integer("crop_size", 0) or own.integer("crop_size", 0)
    height, width = crop or own.integer("new_height", 0), crop or own.integer("new_width", 0)
    if not (height and width):
        return ()
    return 1, 1 if is_grey(layer) else 3, height, width


def is_grey(layer: LayerText) -> bool:
    """Whether the layer declares that its images have one channel."""
    transform, own = layer.fields.block("transform_param"), layer.fields.block(_own_block(layer))
    return transform.flag("force_gray", False) or not own.flag("is_color", True)


def dims_of(block: Fields) -> tuple[int, ...]:
    """Return the sizes of a shape block."""
    return tuple(block.integers("dim", minimum=-1))


def _dummy_shape(own: Fields) -> tuple[int, ...]:
    """Return the shape of a DummyData layer's first top; each top has one, in a block or in four repeated fields."""
    shapes = own.blocks("shape")
    if shapes:
        return dims_of(shapes[0])
    return tuple((own.integers(name, minimum=1) or [1])[0] for name in ("num", "channels", "height", "width"))


def _own_block(layer: LayerText) -> str:
    """Return the name of the block that holds the layer's own settings; forks reuse the block of another layer."""
    return next(filter(layer.fields.has, _OWN_BLOCKS), "data_param")
