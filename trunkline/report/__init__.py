"""A run's report: tables in Markdown and in the terminal, and pictures of what was learned.

Everything is read from the run's own JSON files, so a report can be written again at any time, and without torch.
"""
