"""One file an operator family. Every module in this folder is imported by the registry, so a new file is enough."""
