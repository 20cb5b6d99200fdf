"""hpcpipe: stages over shards on a SLURM cluster, with a manifest that knows what is done."""

__version__ = "0.1.0"
