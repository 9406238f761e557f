"""Trainable torch twins of a Graph: the same operators, the same names, the same numbers."""
