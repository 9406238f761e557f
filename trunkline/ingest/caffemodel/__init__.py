"""Caffe's binary weights (``.caffemodel``): read lazily and within limits, matched onto a Graph, and written.

The file is a protobuf message. It is read by an own reader of protobuf's wire format, not by protobuf's runtime,
for three reasons. The runtime copies every number into memory before anything can be asked about it, where a
reader of our own leaves them in the file until a weight is wanted. It allocates what a file claims, where we
compare every claim with the limits first. And it reports a bad file as "Error parsing message", where ours says
which layer, which blob and which byte. That both agree on valid files is tested with the runtime as the oracle.
"""

from __future__ import annotations

from trunkline.ingest.caffemodel.reader import Caffemodel, CaffemodelLayer, read_caffemodel, read_caffemodel_bytes

__all__ = ["Caffemodel", "CaffemodelLayer", "read_caffemodel", "read_caffemodel_bytes"]
