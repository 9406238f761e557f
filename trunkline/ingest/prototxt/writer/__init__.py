"""Graph → deploy prototxt and blobs, for the operators that Caffe has layers for; one file a family."""

from __future__ import annotations

from trunkline.ingest.prototxt.writer.net import CaffeBlob, CaffeLayer, CaffeNet
from trunkline.ingest.prototxt.writer.translate import to_caffe

__all__ = ["CaffeBlob", "CaffeLayer", "CaffeNet", "to_caffe"]
