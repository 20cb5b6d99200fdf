#!/usr/bin/env bash
# Reshard a few shards of real photos on this machine, look at the status, check the result.
# `make demo` runs it; everything it makes is in .demo, which it empties first.
set -euo pipefail
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

rm -rf .demo
export HPCPIPE_RUNS=.demo/runs
show python tests/data/make_shards.py .demo --shards 4 --samples 60
show python -m hpcpipe stage=reshard 'stage.input=.demo/shards/*.tar' \
    stage.edits=.demo/edits stage.output=.demo/out launcher=local -m
show python -m hpcpipe status
show python demo/check.py .demo
