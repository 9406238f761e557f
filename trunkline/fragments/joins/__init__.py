"""Kinds of joins, one a file: what stands between the columns of tasks, or beside them."""
