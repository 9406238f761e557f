"""Publish files all or none: they are finished in a hidden folder beside their place, then renamed into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkline.errors import InvalidConfig
from trunkline.files.write import sync_folder, write_error

_DEVICES = Path("/dev")


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a temporary folder on the same file system; publish on a clean exit.

    Whatever lies beside the yielded file when the block ends is published too, and first: weights before the
    model that reads them. If the block raises, nothing appears under the final names. The temporary folder is always
    removed.

    Raises:
        InvalidConfig: The folder of ``path`` does not exist, or ``path`` is a folder, device or pipe.
        WorkFailed: The folder cannot be written to, or the disk is full.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with staged(Path(folder) / "model.onnx") as path:
    ...         _ = path.write_bytes(b"onnx")
    ...     os.listdir(folder)
    ['model.onnx']
    """
    final = path.absolute()
    if found := why_no_file(final):
        raise InvalidConfig(
            f"{final} {found}", place=str(path), advice="give the path of a file in a folder that exists"
        )
    needed_bytes = 0
    try:
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".trunkline-") as folder:
            target = Path(folder) / final.name
            yield target
            needed_bytes = sum(file.stat().st_size for file in target.parent.iterdir())
            _publish(target, final)
    except OSError as error:
        raise write_error(error, path, needed_bytes) from error


def why_no_file(final: Path) -> str:
    """Return why no file can be put at ``final``; empty where one can.

    The rename would replace a device, a pipe, or the link that ``/dev/stdout`` is, for everybody on the machine.
    """
    if final.is_dir():
        return "is a folder"
    if not final.parent.is_dir():
        return f"lies in {final.parent}, which is not a folder"
    if final.parent.resolve() == _DEVICES or (final.exists() and not final.is_file()):
        return "is a device or pipe"
    return ""


def _publish(target: Path, final: Path) -> None:
    beside = sorted(file for file in target.parent.iterdir() if file != target)
    # Contents first, then names: after a crash no final name may stand for a file without its content.
    for file in [*beside, target]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    for file in [*beside, target]:
        file.replace(final.parent / file.name)
    sync_folder(final.parent)
