"""File formats: tar, key lists, sample indexes, and reading files local and remote."""
