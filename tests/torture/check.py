"""What must be true of a run afterwards, whatever happened to it.

Every function gives the violations it found as lines of text. A line that begins with a shard's
id and a colon is printed with the history of that shard.
"""

import filecmp
import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from tests.torture.record import FINALIZE, Fate, Record
from tests.torture.runs import TorturedRun

MAX_LOST = 6


def attempts(record: Record) -> Iterator[str]:
    """An attempt has one owner, who alone says what became of it; none is done twice."""
    done = Counter[tuple[str, int]]()
    numbers: dict[str, set[int]] = {}
    for block, attempt in record.owners:
        numbers.setdefault(block, set()).add(attempt)
    for block, taken in numbers.items():
        if taken != set(range(1, len(taken) + 1)):
            yield f"block {block}: attempts {sorted(taken)} are taken, and none between"
    for line in record.damaged:
        yield f"damaged: {line}"
    for journal, event in record.events:
        if event["event"] == "reset" or journal.startswith("closing-"):
            continue
        owner = record.owners.get((record.block(event), event["attempt"]), "nobody")
        shard = event.get("shard") or f"block {event['block']}"
        if event["event"] == "lost":
            if event["owner"] != owner:
                yield f"{shard}: attempt {event['attempt']} of {owner} lost by {event['owner']}"
        elif owner != journal:
            yield f"{shard}: attempt {event['attempt']} of {owner} told of by {journal}"
        if event["event"] == "done":
            done[event["shard"], event["attempt"]] += 1
    for (shard, attempt), number in done.items():
        if number > 1:
            yield f"{shard}: attempt {attempt} is done {number} times"


def ends(run: TorturedRun, made: dict[str, Fate]) -> Iterator[str]:
    """Every shard is done, or quarantined for a reason that was planted."""
    expected = {f"s{number:05d}" for number in range(run.num_inputs)}
    for shard in sorted(expected ^ (made.keys() - {FINALIZE})):
        yield f"{shard}: is planned or has an input, not both"
    for shard, fate in made.items():
        planted = run.planted.get(shard)
        if planted is None and not fate.done:
            yield f"{shard}: is not done"
        elif planted and fate.done:
            yield f"{shard}: is {planted}, and done all the same"
        elif planted == "bad" and not any(event.get("final") for event in fate.failed.values()):
            yield f"{shard}: is bad, and not quarantined"
        elif planted == "deadly" and not _is_given_up(fate):
            yield f"{shard}: kills its workers, and is not quarantined: {fate.lost}"


def reasons(run: TorturedRun, record: Record) -> Iterator[str]:
    """No shard is charged with what was done to its workers."""
    for _, event in record.events:
        if event["event"] != "failed":
            continue
        shard, error = event["shard"], event["error"]
        if run.planted.get(shard) == "bad" and error == "this shard is bad":
            continue
        if shard in run.changed and "changed since the plan was made" in error:
            continue
        yield f"{shard}: attempt {event['attempt']} is charged with: {error}"


def _is_given_up(fate: Fate) -> bool:
    return len(fate.lost) >= MAX_LOST and len(set(fate.lost.values())) >= 2


def quarantined(made: dict[str, Fate]) -> list[str]:
    """Shards that are given up, by the rules as documented."""
    return [
        shard
        for shard, fate in made.items()
        if not fate.done
        and (
            any(event.get("final") for event in fate.failed.values())
            or len(fate.failed) >= 3
            or _is_given_up(fate)
        )
    ]


def outputs(run: TorturedRun, made: dict[str, Fate]) -> Iterator[str]:
    """Every file is as the counting attempt recorded it, and there is no other file."""
    recorded: set[str] = set()
    for shard, fate in made.items():
        if not fate.done:
            continue
        for file in max(fate.done, key=lambda event: event["attempt"]).get("outputs", ()):
            recorded.add(file["path"])
            path = run.output / file["path"]
            if not path.exists():
                yield f"{shard}: {path.name} is missing"
                continue
            data = path.read_bytes()
            found = f"xxh3_128:{xxhash.xxh3_128(data).hexdigest()}"
            if (len(data), found) != (file["size_bytes"], file["checksum"]):
                yield f"{shard}: {path.name} is not what the attempt that counts has written"
    there = {str(path.relative_to(run.output)) for path in run.output.rglob("*") if path.is_file()}
    for name in sorted(there - recorded - {f".hpcpipe/{run.stage}.json"}):
        yield f"{name} is in the output folder and nobody's"


def last_step(run: TorturedRun, record: Record, made: dict[str, Fate]) -> Iterator[str]:
    """The last step has seen the results that count."""
    lines = []
    for shard in record.shards:
        if made[shard].done:
            event = max(made[shard].done, key=lambda event: event["attempt"])
            lines += [
                f"{f['path']} {f['checksum']} {f.get('num_samples')}" for f in event["outputs"]
            ]
    if (run.output / "list.txt").read_text().splitlines() != lines:
        yield f"{FINALIZE}: list.txt does not list the results that count"


def samples(run: TorturedRun) -> Iterator[str]:
    """Every sample of the tars is there once, with its bytes."""
    found = Counter[str]()
    for path in sorted(run.output.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                found[f"{member.name} {hashlib.sha256(file.read()).hexdigest()}"] += 1
    for path in sorted(run.inputs.glob("*.json")):
        todo = json.loads(path.read_bytes())
        for number in range(0 if path.stem in run.planted else todo["num_samples"]):
            key = f"{path.stem}-{number:03d}"
            data = hashlib.sha256(f"{todo['salt']} {key}".encode()).digest() * 40
            for suffix, content in (("bin", data), ("txt", key.encode())):
                number_found = found.pop(f"{key}.{suffix} {hashlib.sha256(content).hexdigest()}", 0)
                if number_found != 1:
                    yield f"{path.stem}: {key}.{suffix} is there {number_found} times"
    for name in found:
        yield f"{name.partition('-')[0]}: {name} is nobody's sample"


def wholes(run: TorturedRun) -> Iterator[str]:
    """Both files of a shard are of one attempt, and whole."""
    for path in sorted(run.output.glob("*.a")):
        both = [path.read_bytes(), path.with_suffix(".b").read_bytes()]
        if both[0][:32] != both[1][:32]:
            yield f"{path.stem}: its two files are of two attempts"
        for data in both:
            if hashlib.sha256(data[32:-64]).hexdigest().encode() != data[-64:]:
                yield f"{path.stem}: one of its files is not whole"


def same(run: TorturedRun, calm: Path) -> Iterator[str]:
    """The bytes are those of a run that nothing happened to."""
    theirs = {path.name for path in calm.glob("[!.]*")}
    ours = {path.name for path in run.output.glob("[!.]*")}
    for name in sorted(theirs ^ ours):
        yield f"{name}: only the {'calm' if name in theirs else 'tortured'} run has it"
    for name in sorted(theirs & ours):
        if not filecmp.cmp(calm / name, run.output / name, shallow=False):
            yield f"{name[:6]}: {name} is not as in the calm run"


def leftovers(run: TorturedRun) -> Iterator[str]:
    """Nothing temporary is left."""
    for folder in (run.folder, run.output):
        for base, _, names in os.walk(folder):
            for name in names:
                if name.startswith(".") or name.endswith(".part"):
                    yield f"{base}/{name} is left over"


def status(shown: dict[str, Any], run: TorturedRun, made: dict[str, Fate]) -> Iterator[str]:
    """`status --json` says what the files say."""
    done = {shard: fate.done for shard, fate in made.items() if shard != FINALIZE and fate.done}
    counting = [max(found, key=lambda event: event["attempt"]) for found in done.values()]
    ours = {
        "state": "complete",
        "num_shards": len(made) - 1,
        "done": len(done),
        "pending": 0,
        "quarantined": len(run.planted),
        "finalize": "done",
    }
    for key, value in ours.items():
        if shown[key] != value:
            yield f"status says {key}={shown[key]}, the files say {value}"
    num_samples = sum(event["stats"]["samples"] for event in counting)
    if shown["stats"]["samples"] != num_samples:
        yield f"status counts {shown['stats']['samples']} samples, the files {num_samples}"
    running = [view["identity"]["name"] for view in shown["workers"] if view["state"] == "running"]
    if running:
        yield f"status says that workers run: {running}"
