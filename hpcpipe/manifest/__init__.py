"""The state of every shard, on a shared filesystem: plan, claims, journals, heartbeats.

Nothing here knows how a shard is processed or how workers are started. Only creating, linking,
appending by one writer and renaming are used: no locks, no database, no shared append.

What a run directory holds:
    rundir, new_rundir      opening it, launches; making it
    plan, plan_file         the shards
    journal         what became of attempts, one line each
    claims, claims_folder   who has which block; closed after the end
    identity, heartbeat, usage, owners      who a worker is, that it lives, what it used
    snapshot, snapshot_rows, compaction     a table of all shards, so that large runs open fast
    marker          the output folder's memory of its run
    code            what code a launch ran
    pipeline_dir, pipeline_records          the same for pipelines

What follows from it:
    attempts        the union of all journals, in any order
    state           done, pending or quarantined

Underneath:
    files           small durable file operations that all of it is made of
"""
