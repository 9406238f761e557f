"""The pictures of what each method finds, on generated scenes: ``python -m docs_pictures``."""
