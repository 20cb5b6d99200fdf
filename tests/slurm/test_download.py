"""Photos from a real nginx over eight workers on SLURM that are killed in the middle."""

import os
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from hpcpipe.manifest.rundir import RunDir
from tests.data.make_shards import make_shards
from tests.servers.certificates import make_certificates
from tests.servers.nginx import nginx_server
from tests.servers.raw_http import raw_server, reply
from tests.slurm.user import ROOT, SMALL, alive, run_dir
from tests.toys.runs import events_of
from tests.waiting import wait_until

BIN = Path(sys.executable).parent
PHOTO = (ROOT / "tests/data/photos/cat.jpg").read_bytes()
DOWN = reply("503 Service Unavailable")
NUM_PHOTOS, NUM_URLS, NUM_GONE = 50, 1000, 40

pytestmark = [
    pytest.mark.slurm,
    # webdataset closes late
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """A list of photos on a server, with captions; some are not there."""
    folder = tmp_path_factory.mktemp("photos")
    (tar_path,) = make_shards(folder / "tars", num_shards=1, num_samples=NUM_PHOTOS)
    root = folder / "root"
    root.mkdir()
    folder.chmod(0o755)
    with tarfile.open(tar_path) as tar:
        for number, member in enumerate(one for one in tar if one.name.endswith(".jpg")):
            (root / f"{number}.jpg").write_bytes(tar.extractfile(member).read())
    made = make_certificates(folder, ["localhost"])
    with nginx_server(root, made.server, made.key) as server:
        place = f"http://127.0.0.1:{server.port}"
        good = [f"{place}/{n % NUM_PHOTOS}.jpg?{n}" for n in range(NUM_URLS - NUM_GONE)]
        gone = [f"{place}/gone{n}.jpg" for n in range(NUM_GONE)]
        table = {"url": [*good, *gone], "caption": [f"photo {n}" for n in range(NUM_URLS)]}
        pq.write_table(pa.table(table), folder / "urls.parquet")
        yield folder / "urls.parquet"


def command(user, urls):
    return [
        *("stage=download", f"stage.input={urls}", f"stage.output={user.folder}/out"),
        *("stage.caption_col=caption", "stage.shard_samples=20", "stage.image.image_size=64"),
        *("stage.fetch.allow_private_hosts=true", "stage.fetch.host_rate_per_s=20"),
        *("launcher.array_size=8", "run.lease_s=10", *SMALL, "-m"),
    ]


def test_every_url_comes_exactly_once_though_workers_are_killed(plain_user, urls):
    user = plain_user
    path = run_dir(user, user.ok(*command(user, urls)))
    wait_until(lambda: len(events_of(path, "done")) >= 5 and len(alive(path)) == 8)
    workers = alive(path)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    for pid in workers[:4]:
        os.kill(pid, signal.SIGKILL)
    user.ok(*command(user, urls))
    assert len(RunDir(path).read_launches()) == 2
    for pid in workers[4:]:
        os.kill(pid, signal.SIGCONT)
    user.ok(*command(user, urls), "wait=true")
    out = user.folder / "out"
    tables = sorted(out.glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(table) for table in tables])
    listed = pd.read_parquet(urls)
    assert sorted(frame["url"]) == sorted(listed["url"])
    assert frame["key"].is_unique
    assert Counter(frame["status"]) == {
        "success": NUM_URLS - NUM_GONE, "failed_to_download": NUM_GONE,
    }  # fmt: skip
    samples = list(webdataset.WebDataset(sorted(map(str, out.glob("*.tar"))), shardshuffle=False))
    by_key = dict(zip(frame["key"], frame["caption"], strict=True))
    assert len(samples) == NUM_URLS - NUM_GONE
    assert all(by_key[sample["__key__"]] == sample["txt"].decode() for sample in samples)
    assert {len(list(out.glob(f"*{end}"))) for end in (".tar", ".parquet", "_stats.json")} == {50}


def test_the_launcher_of_laion_tries_again_what_may_pass(plain_user, tmp_path):
    def flaky(connection, asked):
        answer = reply("200 OK", PHOTO) if server.paths()[asked.path] > 2 else DOWN
        answer(connection, asked)

    with raw_server() as server:
        names = [f"/flaky{n}" for n in range(5)]
        server.answers.update(dict.fromkeys(names, flaky) | {"/good": reply("200 OK", PHOTO)})
        urls = [f"{server.url}{name}" for name in (*names, "/good", "/gone")]
        columns = {"URL": urls, "TEXT": ["a cat"] * 7}
        columns |= dict.fromkeys(["similarity", "punsafe", "pwatermark"], [0.5] * 7)
        pq.write_table(pa.table(columns), tmp_path / "laion.parquet")
        settings = ["stage.fetch.allow_private_hosts=true", "stage.fetch.backoff_s=0.1"]
        settings += ["launcher.array_size=2", "stage.shard_samples=4", *SMALL]
        done = subprocess.run(
            [ROOT / "launchers" / "laion.sh", f"{tmp_path}/laion.parquet", "images", *settings],
            cwd=plain_user.folder, capture_output=True, text=True, timeout=300,
            env={**plain_user.env, "PATH": f"{BIN}:{plain_user.env['PATH']}"},
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    out = plain_user.folder / "images"
    frame = pd.concat([pd.read_parquet(table) for table in sorted(out.glob("*.parquet"))])
    last = frame.sort_values("key").groupby("url").last()
    assert sorted(last.index) == sorted(urls)
    assert Counter(last["status"]) == {"success": 6, "failed_to_download": 1}
    assert Counter(frame["error_class"].dropna()) == {"http_5xx": 5, "http_404": 1}
    assert server.paths()["/gone"] == 1
    assert sorted(path.name for path in out.glob("*.tar")) == [f"0000{n}.tar" for n in range(4)]
