"""Mutation testing: plant one small fault at a time, and see whether the tests that should notice do."""
