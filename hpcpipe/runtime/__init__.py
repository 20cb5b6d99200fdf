"""What runs a stage over its shards: worker loop, staged outputs, signals, status.

Uses ``manifest`` for the state and ``formats`` to read and write; knows nothing of how workers
are started.
"""
