"""Caffe's layers in float64 NumPy, written from Caffe's definitions and knowing nothing of Trunkline.

A :class:`Net` is a list of layers as a file has them. :func:`prototxt` writes that file; :func:`evaluate`
computes what Caffe computes from it. Settings pass through float32, as Caffe's do; arithmetic is float64.
"""

from caffe_reference.evaluate import evaluate, weight_shapes
from caffe_reference.net import Layer, Net, Senseless, Word, prototxt

__all__ = ["Layer", "Net", "Senseless", "Word", "evaluate", "prototxt", "weight_shapes"]
