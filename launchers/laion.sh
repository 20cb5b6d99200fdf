#!/usr/bin/env bash
# Download a LAION-style dataset on a SLURM cluster: parquet lists of URLs and captions to webdataset
# shards of images, then once more what failed and may pass.
#
#   launchers/laion.sh '/data/laion/*.parquet' /data/laion-images [SETTING ...]
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
    stage=download
    "stage.input='$input'"
    "stage.output='$output'"
    run_name=laion
    stage.url_col=URL
    stage.caption_col=TEXT
    "stage.save_cols=[similarity,punsafe,pwatermark]"
    # stage.verify_col=md5 stage.digest=md5   # where the list has checksums of its files
    # stage.bbox_col=face_bboxes              # boxes to blur
    stage.image.resize_mode=keep_ratio
    stage.image.image_size=256
    stage.image.resize_only_if_bigger=true
    stage.image.min_image_size=64
    stage.image.max_aspect_ratio=3
    stage.shard_samples=10000
    stage.shard_deadline_s=3600
    # Who wonders about the requests finds somebody to ask.
    # stage.fetch.contact=https://example.org/our-crawler
    # site=mycluster                          # conf/site/mycluster.yaml: partition, account, setup
    resources.cpus=2                          # about 200 images a second and core, at 256 pixels
    resources.mem_gb=2
    resources.time_min=480                    # workers are queued again while shards are left
    launcher.array_size=64
)

# What is typed behind the two arguments comes last and counts: launcher.array_size=128.
python -m hpcpipe "${settings[@]}" "$@" -m wait=true
# Names that could not be looked up, hosts that were down: in new shards, nothing finished is touched.
python -m hpcpipe "${settings[@]}" "$@" -m wait=true retry_failed=true
python -m hpcpipe status "$output"
