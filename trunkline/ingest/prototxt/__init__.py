"""Caffe's text format, in Caffe's and in AutoMTL's dialect → Graph."""

from __future__ import annotations

from trunkline.ingest.prototxt.reader import parse_prototxt, read_prototxt

__all__ = ["parse_prototxt", "read_prototxt"]
