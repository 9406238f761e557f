"""Caffe's binary weights (``.caffemodel``): read lazily and within limits, matched onto a Graph, and written.

The file is a protobuf message. It is read by our own reader of protobuf's wire format, not by protobuf's runtime,
for three reasons:

1. The runtime copies every number into memory first; ours leaves them in the file until a weight is wanted.
2. The runtime allocates what a file claims; ours compares every claim with the limits first.
3. The runtime reports a bad file as "Error parsing message"; ours names the layer, the blob and the byte.

That both agree on valid files is tested with the runtime as the oracle.
"""

from __future__ import annotations

from trunkline.ingest.caffemodel.reader import Caffemodel, CaffemodelLayer, read_caffemodel, read_caffemodel_bytes

__all__ = ["Caffemodel", "CaffemodelLayer", "read_caffemodel", "read_caffemodel_bytes"]
