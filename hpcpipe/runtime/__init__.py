"""What runs a stage over its shards: worker loop, staged outputs, signals, status.

Uses ``manifest`` for the state and ``formats`` to read and write; knows nothing of how workers
are started.

One worker:
    run_worker      from its first look at the run directory to its last word in it
    worker          the loop: claim, do, record
    session         its presence: identity, journal, heartbeat, scratch
    todo, claimer, takeover         which block comes next; what dead workers left
    attempt, context, events    one shard: what a stage is handed, what became of it
    outputs, staged_file, partial, scratch     what a stage writes, and where
    finish, finalize_context, closing   the last step; the end of a run
    log_file, meter, pace       what it said; what it used; how fast it goes

What may come in between:
    signals, deadline, ending   being told to stop, the time limit, being run again
    watchdog, patience, missing  hung work, failing filesystems, inputs that are gone
    health, devices, access     a bad node, its GPUs, the folders' rights

A run as a whole:
    planning, replanning, changes   listing shards; for a run that exists; shards to be done again
    upstream                        runs that feed runs
    gate, sources                   steps of pipelines: may one be planned, does its plan still hold
    find, results, history          finding a run, what it made, what happened to a shard
    remarks, listed                 what was said of the plan; what is listed in files
    summary, tally, done_table, accounting, failures, nodes, workers, progress  what status shows
    exit_code                       what commands about it exit with
    live, unmade, unmade_text   the shards at hand in it; samples that failed, by class
    contact_sheet                   random samples of it, as people look at them
    wandb_feed, logbook, metrics    what is logged to Weights & Biases
    code, leftovers                 whether the code changed; what may be cleaned
"""
