"""Trunkline: one backbone, several vision tasks, one deployable model."""

__version__ = "0.1.0"
