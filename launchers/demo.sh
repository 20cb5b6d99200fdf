#!/usr/bin/env bash
# Reshard a few shards of real photos on this machine, look at the status, check the result.
# `make demo` runs it. Everything goes to .demo, emptied first, or to another folder: demo.sh DIR
set -euo pipefail
folder=${1:-.demo}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Print a command as one would type it, and run it.
show() {
    local word line='$'
    for word in "$@"; do
        [[ $word == *[^A-Za-z0-9_./=:-]* ]] && word="'$word'"
        line+=" $word"
    done
    printf '\n%s\n' "$line"
    "$@"
}

if [ "$folder" = .demo ]; then rm -rf .demo; fi
export HPCPIPE_RUNS=$folder/runs
show python tests/data/make_shards.py "$folder" --shards 4 --samples 60
show python -m hpcpipe stage=reshard stage.input="$folder/shards/*.tar" \
    stage.edits="$folder/edits" stage.output="$folder/out" launcher=local -m
show python -m hpcpipe status "$folder/out"
show python tests/data/check_demo.py "$folder"
