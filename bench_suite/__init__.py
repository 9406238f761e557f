"""Trunkline's benchmarks: every claim about speed or memory, measured against its alternative in one run."""
