"""The stage ``rewrite_captions`` as its YAML has it, with changes, over given servers."""

import json
from pathlib import Path

from hpcpipe.compose.api import compose_run
from tests.stages.drive import Drive


def stage(folder, urls, **changes):
    """The stage over ``FOLDER/captions``; names of nested options have two underscores."""
    settings = {"input": f"{folder}/captions", "servers.urls": list(urls)}
    settings |= {name.replace("__", "."): value for name, value in changes.items()}
    return compose_run("rewrite_captions", **settings).stage


def rewritten(folder, captions, urls, **changes):
    """Write captions, rewrite them; gives the run."""
    write_captions(folder, captions)
    return Drive(stage(folder, urls, **changes), folder).run()


def write_captions(folder, captions, name="00000"):
    path = Path(folder) / "captions" / f"{name}.json"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({f"{key}.json": text for key, text in captions.items()}))


def prompts(run, name="00000"):
    return json.loads(Path(run.out, f"{name}.json").read_text())


def rows(run, name="00000"):
    lines = Path(run.out, f"{name}.meta.jsonl").read_text().splitlines()
    return {row["key"]: row for row in map(json.loads, lines)}
