"""Tests; the folders mirror the package, and `tests.slurm` brings up a real SLURM."""
