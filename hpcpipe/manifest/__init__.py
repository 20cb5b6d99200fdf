"""The state of every shard, on a shared filesystem: plan, claims, journals, heartbeats.

Nothing here knows how a shard is processed or how workers are started. Only creating, linking,
appending by one writer and renaming are used: no locks, no database, no shared append.
"""
