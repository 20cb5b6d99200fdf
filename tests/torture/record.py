"""What a run directory says, read by code of its own: the product's readers are under test."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FINALIZE = "@finalize"


class Record(NamedTuple):
    """A run as its plain files tell it.

    Attributes:
        shards: shard ids in the order of the plan.
        events: (journal, line) of every event.
        owners: name of the worker that holds an attempt, by (block, attempt).
        damaged: journal lines that are no JSON.
    """

    shards: list[str]
    events: list[tuple[str, dict[str, Any]]]
    owners: dict[tuple[str, int], str]
    damaged: list[str]

    def block(self, event: dict[str, Any]) -> str:
        """Block an event speaks of; here every shard is a block."""
        if "block" in event or event["shard"] == FINALIZE:
            return str(event.get("block", FINALIZE))
        return str(self.shards.index(event["shard"]))


class Fate(NamedTuple):
    """What counts of one shard.

    Attributes:
        done: attempts that are done and not reset since.
        failed: failures that count, by attempt.
        lost: hosts of lost attempts that count, by attempt.
    """

    done: list[dict[str, Any]]
    failed: dict[int, dict[str, Any]]
    lost: dict[int, str]


def read_record(run: Path) -> Record:
    """Read everything in a run directory that says what happened."""
    shards: dict[str, None] = {}
    for path in (run / "plan.jsonl", *sorted(run.glob("plan-*.jsonl"))):
        shards.update(
            dict.fromkeys(json.loads(line)["id"] for line in path.read_text().splitlines())
        )
    events, damaged = [], []
    for path in sorted((run / "journal").glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                events.append((path.stem, json.loads(line)))
            except ValueError:
                damaged.append(f"{path.name}: {line[:200]!r}")
    owners = {}
    for path in sorted(_claims(run)):
        block, _, attempt = path.name.rpartition(".")
        try:
            owner = json.loads(path.read_bytes())["name"]
        except FileNotFoundError:
            continue  # the run was closed just now
        if owners.setdefault((block, int(attempt)), owner) != owner:
            damaged.append(f"{path}: {owner} took what is {owners[block, int(attempt)]}'s")
    return Record(list(shards), events, owners, damaged)


def _claims(run: Path) -> Iterator[Path]:
    for claims in run.glob("claims*"):
        for folder, _, names in os.walk(claims):
            yield from (Path(folder, name) for name in names)


def fates(record: Record) -> dict[str, Fate]:
    """Work out what counts of every shard, and of the last step."""
    through: dict[str, int] = defaultdict(int)
    for _, event in record.events:
        if event["event"] == "reset":
            through[event["shard"]] = max(through[event["shard"]], event["attempt"])
    made: dict[str, Fate] = {shard: Fate([], {}, {}) for shard in (*record.shards, FINALIZE)}
    blocks = dict(zip(map(str, range(len(record.shards))), record.shards, strict=True))
    for _, event in record.events:
        attempt, kind = event["attempt"], event["event"]
        block = event.get("block", "")
        shard = event.get("shard") or blocks.get(block, block)
        if kind == "reset" or attempt <= through[shard] or shard not in made:
            continue
        if kind == "done":
            made[shard].done.append(event)
        elif kind == "failed":
            made[shard].failed[attempt] = event
        elif kind == "lost":
            host = event["host"]
            made[shard].lost[attempt] = min(host, made[shard].lost.get(attempt, host))
    return made


def history(record: Record, shard: str) -> str:
    """Everything that is known of one shard, in the order of the writers' clocks."""
    block = FINALIZE if shard == FINALIZE else str(record.shards.index(shard))
    about = [
        (event.get("at", 0.0), f"  {event.get('at', 0.0):.3f} {journal}: {json.dumps(event)}")
        for journal, event in record.events
        if event.get("shard") == shard or event.get("block") == block
    ]
    owners = [
        f"  attempt {attempt} taken by {owner}"
        for (taken, attempt), owner in sorted(record.owners.items(), key=lambda item: item[0][1])
        if taken == block
    ]
    return "\n".join(
        [f"history of {shard} (block {block})", *owners, *(x for _, x in sorted(about))]
    )
