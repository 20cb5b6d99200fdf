#!/usr/bin/env bash
# Make a hybrid dataset on a SLURM cluster, as FairCLIP does: samples with faces get captions about
# other people, by a language model, and images of these. Four steps (conf/pipeline/fairclip.yaml).
#
#   launchers/fairclip.sh '/data/shards/*.tar' /data/hybrid [SETTING ...]
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
# module load python/3.11 cuda
# source /path/to/venv/bin/activate
# Run directories, on the shared filesystem: to be set where the output is a bucket (s3://...).
export HPCPIPE_RUNS=${HPCPIPE_RUNS:-$output/runs}
# Models that workers load, on a filesystem that all nodes see; workers never download.
# export HF_HOME=/shared/huggingface

settings=(
    pipeline=fairclip
    "pipeline.input='$input'"
    "pipeline.output='$output'"
    # pipeline.detector=centerface            # where the shards have no face_bboxes
    # The language model's servers: as many as there are, with N requests at once each ...
    # "pipeline.servers=[http://node1:11434,http://node2:11434]"
    # rewrite.stage.servers.max_in_flight=4
    # ... or servers that each worker starts on a GPU of its own:
    # "pipeline.start_server='env OLLAMA_HOST=127.0.0.1:{port} CUDA_VISIBLE_DEVICES={gpu} ollama serve'"
    # rewrite.resources=gpu rewrite.launcher.array_size=8
    # site=mycluster                          # conf/site/mycluster.yaml: partition, account, setup
    faces.run.max_failed_fraction=0.001       # one damaged tar in a thousand is left out
    reshard.run.max_failed_fraction=0.001
    faces.resources.time_min=120
    generate.resources.time_min=480           # workers are queued again while shards are left
    generate.launcher.array_size=32           # GPUs
)

# What is typed behind the two arguments comes last and counts: generate.launcher.array_size=64.
# On the login node, which has internet; nothing is fetched twice.
python -m hpcpipe fetch-models "${settings[@]}" "$@" -m
python -m hpcpipe "${settings[@]}" "$@" -m wait=true
# A page of samples from every step, to be looked at before anything is trained on them.
python -m hpcpipe contact-sheet fairclip -o "$output/contact_sheet.html"
