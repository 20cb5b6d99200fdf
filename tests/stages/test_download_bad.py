"""The stage ``download`` where things go wrong: bad answers, stalls, signals, wrong checksums."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hpcpipe.compose.api import compose_run
from tests.servers.raw_http import raw_server, reply
from tests.stages.drive import Drive
from tests.waiting import wait_until

PHOTO = (Path(__file__).parents[1] / "data/photos/cat.jpg").read_bytes()


@pytest.fixture
def server():
    with raw_server() as server:
        yield server


def command(folder, rows, *options):
    if not (folder / "list.parquet").exists():
        pq.write_table(pa.Table.from_pylist(rows), folder / "list.parquet")
    return [
        *(sys.executable, "-m", "hpcpipe", "stage=download", "run_name=bad"),
        *(f"stage.input={folder}/list.parquet", f"stage.output={folder}/out"),
        *("stage.fetch.allow_private_hosts=true", "stage.fetch.max_tries=1", *options),
    ]


def environment(folder):
    return {**os.environ, "HPCPIPE_RUNS": str(folder / "runs")}


def run(folder, rows, *options):
    return subprocess.run(
        command(folder, rows, *options),
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def results(folder):
    paths = sorted((folder / "out").glob("*.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: row["key"])


def test_every_way_to_fail_has_its_class_and_leaves_the_others_alone(tmp_path, server):
    server.answers.update(
        {
            "/good": reply("200 OK", PHOTO, "Content-Type: image/jpeg"),
            "/forbidden": reply("403 Forbidden"),
            "/noai": reply("200 OK", PHOTO, "X-Robots-Tag: noai, max-image-preview:large"),
            "/page": reply("200 OK", b"<html>no photo</html>", "Content-Type: image/jpeg"),
            "/half": reply("200 OK", PHOTO[: len(PHOTO) // 2]),
            "/short": reply("200 OK", PHOTO[:1000], f"Content-Length: {len(PHOTO)}", length=False),
            "/large": reply("200 OK", bytes(2_000_000)),
            "/stall": server.hang,
        }
    )
    server.answers["/short"] = _cut_off(server.answers["/short"])
    expected = {
        f"{server.url}/good": "",
        f"{server.url}/gone": "http_404",
        f"{server.url}/forbidden": "http_403",
        f"{server.url}/noai": "opt_out_x_robots_tag",
        f"{server.url}/page": "not_an_image",
        f"{server.url}/half": "truncated_image",
        f"{server.url}/short": "truncated",
        f"{server.url}/large": "too_large",
        f"{server.url}/stall": "timeout",
        "ftp://example.org/a.jpg": "bad_url",
        "http://no-such-host.invalid/a.jpg": "unknown_host",
        None: "bad_url",
    }
    done = run(
        tmp_path, [{"url": url} for url in expected],
        "stage.fetch.deadline_s=5", "stage.fetch.max_file_bytes=1MB",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = results(tmp_path)
    found = {row["url"]: row["error_class"] or "" for row in rows}
    # without any resolver a name cannot be told not to exist
    unknown = found.pop("http://no-such-host.invalid/a.jpg")
    assert unknown in (expected.pop("http://no-such-host.invalid/a.jpg"), "dns")
    assert found == expected
    assert all(row["error_message"] for row in rows if row["status"] != "success")
    status = {row["url"]: row["status"] for row in rows}
    assert status[f"{server.url}/page"] == status[f"{server.url}/half"] == "failed_to_resize"
    stats = json.loads((tmp_path / "out/00000_stats.json").read_text())
    assert (stats["count"], stats["successes"]) == (12, 1)
    assert (stats["failed_to_download"], stats["failed_to_resize"]) == (9, 2)


def _cut_off(answer):
    """Close the connection behind an answer."""

    def cut(connection, asked):
        answer(connection, asked)
        raise OSError

    return cut


def test_private_addresses_are_refused_unless_allowed(tmp_path, server):
    server.answers["/good"] = reply("200 OK", PHOTO)
    rows = [{"url": f"{server.url}/good"}] * 50
    done = run(tmp_path, rows, "stage.fetch.allow_private_hosts=false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["error_class"] for row in results(tmp_path)} == {"refused_address"}
    assert "stage.fetch.allow_private_hosts=true allows them" in done.stderr
    assert not server.asked


def test_a_shard_ends_at_its_deadline_whatever_hangs(tmp_path, server):
    server.answers["/good"] = reply("200 OK", PHOTO)
    server.answers["/stall"] = server.hang
    rows = [{"url": f"{server.url}/good"}] + [{"url": f"{server.url}/stall"}] * 40
    done = run(
        tmp_path, rows, "stage.shard_deadline_s=3",
        "stage.fetch.deadline_s=600", "stage.fetch.max_waiting=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    classes = Counter(row["error_class"] for row in results(tmp_path))
    assert classes == {None: 1, "shard_deadline": 40}
    assert len({row["key"] for row in results(tmp_path)}) == 41


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_download_leaves_nothing_half_done_and_goes_on(tmp_path, server, number):
    server.answers["/good"] = reply("200 OK", PHOTO)
    server.answers["/stall"] = server.hang
    rows = [{"url": f"{server.url}/good"}] * 10 + [{"url": f"{server.url}/stall"}]
    rows += [{"url": f"{server.url}/good"}] * 9
    options = ("stage.fetch.deadline_s=600", "stage.shard_samples=5", "stage.kind=file")
    with subprocess.Popen(
        command(tmp_path, rows, *options),
        cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        wait_until(lambda: server.paths()["/stall"])
        process.send_signal(number)
        process.communicate(timeout=100)
    finished = {path.stem for path in (tmp_path / "out").glob("*.tar")}
    assert finished < {"00000", "00001", "00002", "00003"}
    before = {name: (tmp_path / f"out/{name}.tar").stat().st_mtime_ns for name in finished}
    server.answers["/stall"] = reply("200 OK", PHOTO)
    done = run(tmp_path, rows, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: (tmp_path / f"out/{name}.tar").stat().st_mtime_ns for name in finished} == before
    keys = [row["key"] for row in results(tmp_path)]
    assert sorted(keys) == [f"{shard:05d}{index}" for shard in range(4) for index in range(5)]
    assert {row["status"] for row in results(tmp_path)} == {"success"}
    assert [path.name for path in (tmp_path / "out").rglob(".*")] == [".hpcpipe"]


def test_files_with_another_checksum_than_the_lists_are_left_out(tmp_path, server):
    server.answers["/good"] = reply("200 OK", PHOTO)
    right, wrong = hashlib.sha256(PHOTO).hexdigest(), "0" * 64
    rows = [{"url": f"{server.url}/good", "sha256": value} for value in (right.upper(), wrong)]
    done = run(tmp_path, rows, "stage.verify_col=sha256")
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(tmp_path)
    assert [row["error_class"] for row in found] == [None, "wrong_digest"]
    assert {row["sha256"] for row in found} == {right}


@pytest.mark.parametrize("as_text", [False, True])
def test_boxes_are_blurred(tmp_path, server, as_text):
    server.answers["/good"] = reply("200 OK", PHOTO)
    boxes = [[], [[0.1, 0.1, 0.9, 0.9]], None, [[0.5, 0.5]]]
    rows = [
        {"url": f"{server.url}/good", "faces": json.dumps(box) if as_text else box} for box in boxes
    ]
    if as_text:
        rows[0]["faces"] = ""
    size = ("stage.image.resize_mode=no", "stage.image.encode_format=png")
    size += ("stage.image.encode_quality=1",)
    done = run(tmp_path, rows, "stage.bbox_col=faces", "stage.output_format=files", *size)
    assert done.returncode == 0, done.stdout + done.stderr
    plain, blurred, none = sorted((tmp_path / "out/00000").glob("*.png"))
    assert plain.read_bytes() == none.read_bytes()
    assert blurred.stat().st_size < plain.stat().st_size / 2
    assert Counter(row["error_class"] for row in results(tmp_path)) == {
        None: 3, "bad_blurring_boxes": 1,
    }  # fmt: skip


class Unhurried:
    """Takes work as an executor does, and does it when its result is asked for."""

    def __init__(self):
        self.held_bytes = self.most_held_bytes = 0

    def submit(self, make_sample, key, listed, fetched):
        self.held_bytes += len(fetched.content)
        self.most_held_bytes = max(self.held_bytes, self.most_held_bytes)

        def result():
            self.held_bytes -= len(fetched.content)
            return make_sample(key, listed, fetched)

        return SimpleNamespace(done=lambda: False, result=result)


def test_large_files_do_not_pile_up_before_slow_threads(tmp_path, server):
    server.answers["/large"] = reply("200 OK", bytes(1 << 20))
    rows = [{"url": f"{server.url}/large"}] * 40
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    stage = compose_run(
        "download", input=str(tmp_path / "list.parquet"), kind="image", output_format="dummy",
        fetch={"allow_private_hosts": True, "max_file_bytes": 2 << 20}, image_threads=8,
    ).stage  # fmt: skip
    drive = Drive(stage, tmp_path / "run")
    (shard,) = drive.plan()
    drive.state = stage.setup(drive.setup_context())
    drive.state.pool = Unhurried()
    drive.process(shard)
    drive.state.fetcher.close()
    table = pq.read_table(tmp_path / "run/out/00000.parquet")
    assert table["error_class"].to_pylist() == ["not_an_image"] * 40
    assert drive.state.pool.most_held_bytes == 3 << 20


def test_who_loses_many_urls_is_told_so_and_why(tmp_path, server):
    server.answers["/forbidden"] = reply("403 Forbidden")
    server.answers["/good"] = reply("200 OK", PHOTO)
    rows = [{"url": f"{server.url}/{name}"} for name in ["forbidden"] * 40 + ["good"] * 60]
    done = run(tmp_path, rows, "stage.kind=file")
    assert done.returncode == 0, done.stdout + done.stderr
    words = "warning: 40% of the first 100 URLs failed, most by http_403 (40): servers forbid it"
    assert words in done.stderr


def test_opt_outs_are_counted_apart_from_failures(tmp_path, server):
    server.answers["/good"] = reply("200 OK", PHOTO)
    server.answers["/noai"] = reply("200 OK", PHOTO, "X-Robots-Tag: noai")
    server.answers["/robots.txt"] = reply("200 OK", b"User-agent: *\nDisallow: /private/\n")
    paths = ["good", "noai", "private/1", "private/2", "gone"]
    done = run(tmp_path, [{"url": f"{server.url}/{path}"} for path in paths], "stage.kind=file")
    assert done.returncode == 0, done.stdout + done.stderr
    status = subprocess.run(
        [sys.executable, "-m", "hpcpipe", "status", str(next((tmp_path / "runs").glob("*/*")))],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "left out by their owners" in status
    assert "robots_txt 2" in status
    assert "x_robots_tag 1" in status
    assert "http_404 1" in status
    assert not {"/private/1", "/private/2"} & set(server.paths())


def test_images_among_files_of_any_kind_may_be_subsampled(tmp_path, server):
    server.answers["/photo"] = reply("200 OK", PHOTO)
    server.answers["/half"] = reply("200 OK", PHOTO[: len(PHOTO) // 2])
    server.answers["/sound.wav"] = reply("200 OK", b"RIFF\x24\0\0\0WAVEfmt ")
    rows = [{"url": f"{server.url}/{path}"} for path in ("photo", "half", "sound.wav")]
    options = ("stage.kind=file", "stage.file_size=64", "stage.image.resize_mode=keep_ratio")
    done = run(tmp_path, rows, *options, "stage.output_format=files")
    assert done.returncode == 0, done.stdout + done.stderr
    photo, sound = sorted((tmp_path / "out/00000").glob("*[!n]"))
    with Image.open(photo) as image:
        assert min(image.size) == 64
    assert (sound.suffix, sound.read_bytes()) == (".wav", b"RIFF\x24\0\0\0WAVEfmt ")
    status = {row["url"].rpartition("/")[2]: row["status"] for row in results(tmp_path)}
    assert status == {"photo": "success", "half": "failed_to_subsample", "sound.wav": "success"}
