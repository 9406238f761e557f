"""Options that several commands share, with one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")]
InputSize = Annotated[str | None, Parameter(name="--input-size", help="Image size, H,W or C,H,W; default the file's.")]
Model = Annotated[str, Parameter(help="Prototxt or ONNX file, or zoo:NAME for a packaged backbone.")]
Weights = Annotated[Path | None, Parameter(name="--weights", help="Caffemodel or safetensors file with the weights.")]
AllowMissing = Annotated[
    bool, Parameter(name="--allow-missing", negative="", help="Weights the file lacks start untrained.")
]
Out = Annotated[Path, Parameter(help="File to write.")]
Fold = Annotated[
    bool,
    Parameter(name="--fold", help="Fold BatchNormalization into convolutions, and store weights that are computed."),
]
Pipeline = Annotated[Path, Parameter(help="Pipeline file (TOML).")]
RunFolder = Annotated[Path, Parameter(name="--out", help="The run's folder; run again, it goes on from there.")]
Quiet = Annotated[bool, Parameter(negative="", help="Show no progress.")]
