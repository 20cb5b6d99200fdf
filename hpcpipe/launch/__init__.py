"""Starting workers: here, on this machine, as a SLURM array, or by a script to hand over."""
