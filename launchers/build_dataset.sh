#!/usr/bin/env bash
# Build a whole dataset on a SLURM cluster: put edits in, leave samples out, deal what is left into
# shuffled tars of one size. Three steps (conf/pipeline/dataset.yaml), submitted all at once.
#
#   launchers/build_dataset.sh '/data/shards/*.tar' /data/built [SETTING ...]
#
# Run it again, with the same arguments, whenever something went wrong: it goes on. Copy it for a
# dataset of yours, and keep it with the data: it is the record of how they were made.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n 's/^#   launchers/usage: launchers/p' "$0" >&2
    exit 2
fi
input=$1 output=$2
shift 2

# The environment: what has to be loaded before python -m hpcpipe works here. The workers get the
# environment of this shell; lines that the nodes need beside it go to `setup` in the site's file.
# module load python/3.11
# source /path/to/venv/bin/activate
# Run directories, on the shared filesystem: to be set where the output is a bucket (s3://...).
export HPCPIPE_RUNS=${HPCPIPE_RUNS:-$output/runs}

settings=(
    pipeline=dataset
    "pipeline.input='$input'"
    "pipeline.output='$output'"
    pipeline.shard_samples=10000
    # pipeline.edits=/data/edits
    # pipeline.keep=/data/keep.parquet
    # site=mycluster                       # conf/site/mycluster.yaml: partition, account, setup
    edit.run.max_failed_fraction=0.001     # one damaged tar in a thousand is left out
    edit.resources.time_min=120
    pack.resources.cpus=2
)

# What is typed behind the two arguments comes last and counts: launcher.array_size=128, wait=true.
exec python -m hpcpipe "${settings[@]}" "$@" -m
