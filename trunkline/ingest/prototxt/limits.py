"""What a prototxt may ask for, checked before anything is allocated for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrototxtLimits:
    """Upper bounds for a file nobody has vouched for.

    Attributes:
        file_bytes: Size of the file.
        tokens: Names, values and punctuation marks, comments not counted.
        depth: Nested ``{}`` blocks; real files need 4.
        size: Any one number that becomes a tensor size: channels, height, kernel, padding.
        weight_elements: Numbers in one weight.
        blob_elements: Numbers in one blob, for one image.
    """

    file_bytes: int = 16 * 1024 * 1024
    tokens: int = 1_000_000
    depth: int = 100
    size: int = 1_000_000
    weight_elements: int = 2**31
    blob_elements: int = 2**31
