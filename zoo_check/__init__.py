"""Exports of the architectures that people use, read by Trunkline: ``make zoo-check``."""
