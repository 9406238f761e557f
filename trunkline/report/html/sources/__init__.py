"""What a report can be made of, one kind a file, found by scanning."""
