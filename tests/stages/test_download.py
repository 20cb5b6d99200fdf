"""The stage ``download``: real photos from a real server, into every kind of shard."""

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import webdataset

from tests.data.make_shards import make_shards
from tests.servers.certificates import make_certificates
from tests.servers.nginx import nginx_server

NUM_PHOTOS, NUM_MISSING = 30, 5

pytestmark = [  # webdataset closes late
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A server of photos, and a list of them in which some are missing."""
    folder = tmp_path_factory.mktemp("photos")
    made = make_shards(folder / "tars", num_shards=1, num_samples=NUM_PHOTOS)
    root = folder / "root"
    root.mkdir()
    folder.chmod(0o755)
    with tarfile.open(made[0]) as tar:
        for member in tar:
            if member.name.endswith(".jpg"):
                (root / member.name).write_bytes(tar.extractfile(member).read())
    names = sorted(path.name for path in root.iterdir())
    assert len(names) == NUM_PHOTOS
    certificates = make_certificates(tmp_path_factory.mktemp("own"), ["localhost"])
    with nginx_server(root, certificates.server, certificates.key) as server:
        rows = [(f"http://127.0.0.1:{server.port}/{name}", f"photo {name}") for name in names]
        rows += [(f"http://127.0.0.1:{server.port}/gone{n}.jpg", "") for n in range(NUM_MISSING)]
        listed = folder / "list.jsonl"
        lines = [json.dumps({"url": url, "caption": text}) for url, text in rows]
        listed.write_text("\n".join(lines) + "\n")
        yield SimpleNamespace(root=root, names=names, list=listed, server=server)


def run(folder, photos, *options):
    return subprocess.run(
        [
            *(sys.executable, "-m", "hpcpipe", "stage=download", f"stage.input={photos.list}"),
            *(f"stage.output={folder}/out", "stage.caption_col=caption", "stage.shard_samples=10"),
            *("stage.fetch.allow_private_hosts=true", "run_name=photos", *options),
        ],
        cwd=folder, env={**os.environ, "HPCPIPE_RUNS": str(folder / "runs")},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def rows_of(folder):
    paths = sorted((folder / "out").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_a_difference_of_options_is_shown_alone(tmp_path, photos):
    assert run(tmp_path, photos, "limit=1").returncode == 0
    other = run(tmp_path, photos, "stage.image.image_size=64", "stage.fetch.deadline_s=7")
    assert other.returncode == 2
    (line,) = [line for line in other.stderr.splitlines() if line.startswith("  stage.")]
    assert line == "  stage.image.image_size: 256 there, 64 here"


def test_images_are_resized_and_every_url_has_its_row(tmp_path, photos):
    size = ("stage.image.resize_mode=keep_ratio", "stage.image.image_size=32")
    done = run(tmp_path, photos, *size)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(tmp_path)
    assert len({row["key"] for row in rows}) == len({row["url"] for row in rows}) == len(rows) == 35
    assert Counter(row["status"] for row in rows) == {
        "success": NUM_PHOTOS, "failed_to_download": NUM_MISSING,
    }  # fmt: skip
    gone = [row for row in rows if row["status"] != "success"]
    assert {(row["error_class"], row["http_status"]) for row in gone} == {("http_404", 404)}
    tars = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert len(tars) == 4
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    assert len(samples) == NUM_PHOTOS
    assert all(min(sample["jpg"].size) == 32 for sample in samples)
    assert {sample["txt"] for sample in samples} == {f"photo {name}" for name in photos.names}
    stats = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*_stats.json")]
    assert sum(one["successes"] for one in stats) == NUM_PHOTOS
    assert sum(one["failed_to_download"] for one in stats) == NUM_MISSING


@pytest.mark.parametrize("output_format", ["webdataset", "files", "parquet", "tfrecord", "dummy"])
def test_files_of_any_kind_keep_their_bytes(tmp_path, photos, output_format):
    done = run(tmp_path, photos, "stage.kind=file", f"stage.output_format={output_format}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows_of(tmp_path)) == 35
    out, wanted = tmp_path / "out", {(photos.root / n).read_bytes() for n in photos.names}
    if output_format == "files":
        assert {path.read_bytes() for path in out.glob("*/*.jpg")} == wanted
    elif output_format == "parquet":
        assert {row["content"] for row in rows_of(tmp_path)} - {None} == wanted
    elif output_format == "webdataset":
        found = webdataset.WebDataset(sorted(map(str, out.glob("*.tar"))), shardshuffle=False)
        assert {sample["jpg"] for sample in found} == wanted


def test_a_run_goes_on_where_it_was_left(tmp_path, photos):
    first = run(tmp_path, photos, "stage.kind=file", "limit=2")
    assert first.returncode == 0, first.stdout + first.stderr
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert len(before) == 2
    again = run(tmp_path, photos, "stage.kind=file")
    assert again.returncode == 0, again.stdout + again.stderr
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert len(after) == 4
    assert before.items() <= after.items()
    assert Counter(row["url"] for row in rows_of(tmp_path)).most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["stage.url_col=link"], "has no column 'link' (stage.url_col)"),
        (["stage.save_cols=[width]"], "the list's columns 'width' cannot be saved under these"),
        (["stage.verify_col=caption", "stage.digest=null"], "say which with stage.digest"),
        (["stage.shard_samples=0"], "stage.shard_samples=0: must be 1 or more"),
        (["stage.fetch.contact=me"], "stage.fetch.contact must be a mail address or a URL"),
        (["stage.image.encode_quality=101"], "stage.image.encode_quality"),
        (["stage.image_size=64"], "stage.image_size: no such option (did you mean stage.image.im"),
    ],
)
def test_mistakes_are_told(tmp_path, photos, options, words):
    done = run(tmp_path, photos, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
