"""Well-known networks as torch modules, written from their papers in the styles people write them in.

``NETS`` holds a small version of each, for parity; ``PUBLISHED`` the full ones whose parameter counts are published.
"""
