"""Fuzzing of the readers: ``python -m fuzz TARGET``; see ``fuzz/README.md``."""
