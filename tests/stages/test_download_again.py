"""The stage ``download`` launched again: longer lists, and what failed and may pass."""

import csv
import gzip
import io
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hpcpipe
from hpcpipe.errors import PlanError, RunMismatchError
from hpcpipe.manifest.plan import Plan
from hpcpipe.runtime import changes
from hpcpipe.stages._download_retry import MAY_PASS, RETRY_OF
from tests.servers.raw_http import raw_server, reply
from tests.toys.runs import events_of

BUSY = reply("503 Service Unavailable", b"busy")


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder for lists beside a server, and the stage run on them."""
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    lists = tmp_path / "lists"
    lists.mkdir()
    with raw_server() as server:
        yield SimpleNamespace(server=server, lists=lists, out=tmp_path / "out", root=tmp_path)


def urls(web, *names, answer=None):
    """URLs that are answered with their own name, or as said."""
    for name in names:
        web.server.answers[f"/{name}"] = answer or reply(body=f"<{name}>".encode())
    return [f"{web.server.url}/{name}" for name in names]


def launch(web, **options):
    settings = {"kind": "file", "shard_samples": 3, "output": str(web.out), "run_name": "again"}
    fetch = {"allow_private_hosts": "true", "obey_robots_txt": "false", "obey_tdmrep": "false"}
    overrides = [f"stage.fetch.{key}={value}" for key, value in fetch.items()]
    overrides += ["stage.fetch.max_tries=1", "run.linger_s=5", "run.backoff_s=0.01"]
    options = {"input": str(web.lists), **settings, **options}
    return hpcpipe.run("download", overrides=overrides, **options)


def rows(web, *shards):
    """Rows by shard and key, in the order of keys."""
    paths = [web.out / f"{shard}.parquet" for shard in shards] or web.out.glob("*.parquet")
    found = [row for path in sorted(paths) for row in pq.read_table(path).to_pylist()]
    return sorted(found, key=lambda row: row["key"])


def names(found):
    return [row["url"].rpartition("/")[2] for row in found]


def stamps(web):
    return {path.name: path.stat().st_mtime_ns for path in web.out.iterdir() if path.is_file()}


def as_csv_gz(found):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["url", "id"])
    writer.writerows((url, f"id {n}") for n, url in enumerate(found))
    return gzip.compress(out.getvalue().encode())


def as_jsonl_zst(found):
    lines = [json.dumps({"url": url, "id": f"id {n}"}) for n, url in enumerate(found)]
    return pa.compress("\n".join(lines).encode(), codec="zstd", asbytes=True)


def as_parquet(found):
    out = io.BytesIO()
    ids = [f"id {n}" for n in range(len(found))]
    pq.write_table(pa.table({"url": found, "id": ids}), out)
    return out.getvalue()


WRITERS = {
    "txt": lambda found: "\n".join(found).encode(),
    "csv.gz": as_csv_gz,
    "jsonl.zst": as_jsonl_zst,
    "parquet": as_parquet,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_new_lists_and_longer_ones_rename_nothing(web, kind):
    write, one = WRITERS[kind], web.lists / f"m1.{kind}"
    one.write_bytes(write(urls(web, "a", "b", "c", "d")))
    (web.lists / f"m2.{kind}").write_bytes(write(urls(web, "e", "f", "g")))
    assert launch(web).exit_code == 0
    before, asked = stamps(web), web.server.paths()
    assert names(rows(web)) == list("abcdefg")

    (web.lists / f"a0.{kind}").write_bytes(write(urls(web, "x", "y")))
    run = launch(web, extend=True)
    assert run.exit_code == 0
    assert before.items() <= stamps(web).items()
    assert names(rows(web, "00003")) == ["x", "y"]
    assert web.server.paths() == asked + Counter(["/x", "/y"])

    one.write_bytes(write(urls(web, "a", "b", "c", "d", "h", "i", "j")))
    assert launch(web, extend=True).exit_code == 0
    assert names(rows(web, "00000", "00001", "00004")) == list("abcdhij")
    unchanged = {name: at for name, at in before.items() if name.startswith("00002")}
    assert unchanged.items() <= stamps(web).items()
    assert Counter(names(rows(web))) == Counter("abcdefghijxy")

    artifacts = sorted((run.run_dir / "artifacts").iterdir())
    assert len(artifacts) == (0 if kind == "parquet" else 4)
    stats = {path: path.stat() for path in artifacts}
    assert launch(web, extend=True).exit_code == 0
    assert {path: path.stat() for path in sorted((run.run_dir / "artifacts").iterdir())} == stats
    assert not list(run.run_dir.glob(".*"))


@pytest.mark.parametrize("kind", WRITERS)
def test_only_what_may_pass_is_tried_again_in_new_shards(web, kind):
    saved = {} if kind == "txt" else {"save_cols": ["id"]}
    (web.lists / f"l.{kind}").write_bytes(WRITERS[kind](urls(web, *"abcdefgh")))
    urls(web, "b", "c", "d", "e", answer=BUSY)
    del web.server.answers["/h"]
    assert launch(web, **saved).exit_code == 0
    before, asked, first = stamps(web), web.server.paths(), rows(web)
    ids = {row["url"]: row.get("id") for row in first}

    urls(web, "b", "d", "e")
    run = launch(web, retry_failed=True, **saved)
    assert run.exit_code == 0
    assert before.items() <= stamps(web).items()
    assert web.server.paths() == asked + Counter(["/b", "/c", "/d", "/e"])
    again = rows(web, "00003", "00004")
    assert names(again) == list("bcde")
    assert {row["url"]: row.get("id") for row in again}.items() <= ids.items()
    assert [row["status"] == "success" for row in again] == [True, False, True, True]
    counted = Counter()
    for event in events_of(run.run_dir, "done"):
        counted.update(event.stats)
    assert (counted["urls"], counted["retried"]) == (8, 4)
    assert counted["failed_to_download.http_5xx"] == 1
    keys = [key for path in artifacts(run, "retry-*") for key in column(path, RETRY_OF)]
    assert keys == [row["key"] for row in first if row["url"] in {r["url"] for r in again}]

    # Of these, one has failed again, and passes now.
    urls(web, "c")
    assert launch(web, retry_failed=True, **saved).exit_code == 0
    assert web.server.paths() == asked + Counter(["/b", "/c", "/d", "/e", "/c"])
    assert [(r["url"][-1], r["status"], r["key"]) for r in rows(web, "00005")] == [
        ("c", "success", "000050")
    ]
    last = {row["url"][-1]: row["status"] for row in rows(web)}
    assert Counter(last.values()) == {"success": 7, "failed_to_download": 1}
    assert last["h"] == "failed_to_download"


def artifacts(run, pattern):
    return sorted((run.run_dir / "artifacts").glob(pattern))


def column(path, name):
    return pq.read_table(path)[name].to_pylist()


def test_the_page_on_the_format_names_every_class_that_may_pass():
    text = (Path(__file__).parents[2] / "docs" / "download-format.md").read_text()
    (named,) = re.findall(r"what failed and may pass \((.*?)\)", text, re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", named)) == sorted(MAY_PASS)


def test_where_nothing_may_pass_one_line_says_so(web, capsys):
    (web.lists / "l.txt").write_text("\n".join(urls(web, "a", "b")))
    del web.server.answers["/b"]
    first = launch(web)
    capsys.readouterr()
    again = launch(web, retry_failed=True)
    assert (again.exit_code, again.run_dir) == (0, first.run_dir)
    assert "(resumed, nothing failed that another try may mend)" in capsys.readouterr().out
    assert len(list(first.run_dir.glob("plan*"))) == 1
    assert artifacts(first, "retry-*") == []


def test_a_run_that_does_not_exist_has_no_failures(web):
    (web.lists / "l.txt").write_text("\n".join(urls(web, "a")))
    with pytest.raises(RunMismatchError, match=r"no run yet, .* leave retry_failed out"):
        launch(web, retry_failed=True)
    assert not web.out.exists()


def test_shards_that_are_not_finished_are_left_to_the_run(web):
    (web.lists / "l.txt").write_text("\n".join(urls(web, *"abcdef", answer=BUSY)))
    assert launch(web, limit=1).exit_code == 0
    urls(web, *"abcdef")
    assert launch(web, retry_failed=True).exit_code == 0
    assert names(rows(web, "00001")) == list("def")
    assert names(rows(web, "00002")) == list("abc")
    assert all(row["status"] == "success" for row in rows(web, "00001", "00002"))


def test_checksums_of_lists_are_compared_again(web):
    table = pa.table({"url": urls(web, "a", "b", answer=BUSY), "md5": ["0" * 32, "1" * 32]})
    pq.write_table(table, web.lists / "l.parquet")
    assert launch(web, verify_col="md5").exit_code == 0
    urls(web, "a", "b")
    assert launch(web, verify_col="md5", retry_failed=True).exit_code == 0
    assert [row["error_class"] for row in rows(web, "00001")] == ["wrong_digest"] * 2


def test_lists_of_other_types_keep_them(web):
    for name, number in (("a", pa.int32()), ("b", pa.int64()), ("c", pa.null())):
        values = pa.array([None, None], number)
        table = pa.table({"url": urls(web, f"{name}0", f"{name}1", answer=BUSY), "n": values})
        pq.write_table(table, web.lists / f"{name}.parquet")
    assert launch(web, save_cols=["n"]).exit_code == 0
    urls(web, *(f"{name}{n}" for name in "abc" for n in range(2)))
    assert launch(web, save_cols=["n"], retry_failed=True).exit_code == 0
    again = [pq.read_table(web.out / f"0000{n}.parquet") for n in (3, 4, 5)]
    assert [table.schema.field("n").type for table in again] == [pa.int32(), pa.int64(), pa.null()]
    assert all(table["status"].to_pylist() == ["success"] * 2 for table in again)


def test_a_list_that_changed_is_told(web):
    listed = web.lists / "l.parquet"
    listed.write_bytes(as_parquet(urls(web, *"abcd", answer=BUSY)))
    run = launch(web)
    listed.write_bytes(as_parquet(urls(web, "x", *"abcd")))
    with pytest.raises(PlanError, match=r"l\.parquet changed since .* extend=true"):
        launch(web, retry_failed=True)
    listed.unlink()
    with pytest.raises(PlanError, match=r"l\.parquet cannot be read.*rows that are to be tried"):
        launch(web, retry_failed=True)
    (web.out / "00000.parquet").unlink()
    with pytest.raises(PlanError, match=r"table of shard 00000 cannot be read: .* --requeue"):
        launch(web, retry_failed=True)
    assert len(Plan(run.run_dir, 1)) == 2
    assert not list(run.run_dir.glob(".*"))


@pytest.mark.parametrize("step", ["keep_artifacts", "_add_plan"])
@pytest.mark.parametrize("how", ["extend", "retry_failed"])
def test_a_command_that_dies_while_it_plans_again_leaves_a_sound_run(web, monkeypatch, step, how):
    (web.lists / "l.txt").write_text("\n".join(urls(web, *"abcd", answer=BUSY)))
    run = launch(web)
    (web.lists / "new.txt").write_text("\n".join(urls(web, "x")))
    urls(web, *"abcd")

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(changes, step, die)
        with pytest.raises(KeyboardInterrupt):
            launch(web, **{how: True})
    before = {path: path.stat() for path in artifacts(run, "*")}
    assert len(before) == (1 if step == "keep_artifacts" else 2)
    assert launch(web).exit_code == 0
    assert launch(web, **{how: True}).exit_code == 0
    after = {path: path.stat() for path in artifacts(run, "*")}
    assert [path for path, stat in before.items() if after[path].st_ino != stat.st_ino] == []
    assert len(after) == 2
    new = ["x"] if how == "extend" else list("abcd")
    assert names(rows(web)) == [*"abcd", *new]


def test_of_two_that_retry_at_once_one_is_refused(web, monkeypatch):
    (web.lists / "l.txt").write_text("\n".join(urls(web, *"abcd", answer=BUSY)))
    run = launch(web)
    urls(web, *"abcd")
    keep, others = changes.keep_artifacts, []

    def keep_after_another(*args):
        if not others:
            others.append(None)
            others.append(launch(web, retry_failed=True))
        keep(*args)

    monkeypatch.setattr(changes, "keep_artifacts", keep_after_another)
    with pytest.raises(RunMismatchError, match="just extended by somebody else"):
        launch(web, retry_failed=True)
    assert others[1].exit_code == 0
    assert names(rows(web, "00002", "00003")) == list("abcd")
    assert len(Plan(run.run_dir, 1)) == 4
    assert launch(web, retry_failed=True).exit_code == 0
    assert len(Plan(run.run_dir, 1)) == 4


def test_what_is_made_anew_has_failures_anew(web):
    listed = web.lists / "l.txt"
    listed.write_text("\n".join(urls(web, "a", "b", answer=BUSY)))
    assert launch(web).exit_code == 0
    assert launch(web, retry_failed=True).exit_code == 0
    assert names(rows(web, "00001")) == ["a", "b"]
    listed.write_text("\n".join(urls(web, "c", answer=BUSY)))
    assert launch(web, extend=True).exit_code == 0
    urls(web, "a", "b", "c")
    assert launch(web, retry_failed=True).exit_code == 0
    assert names(rows(web, "00002")) == ["c", "a", "b"]
    assert {row["status"] for row in rows(web, "00002")} == {"success"}
