"""What a host that accepts and never answers costs those who fetch from it and 999 others.

    python benchmarks/silent_host.py [--urls 10000] [--rounds 5]

Photos from one nginx under 1,000 names with an address each; the names are shuffled in the list,
and the silent host's URLs come in place of those of one or of a hundred others. Rounds are
interleaved, each in a process of its own. The rate is that of the good answers up to the last of
them, its ratio that to the plain list in the same round; the tail is the time from the last good
answer to the end of everything, which must not be longer than a URL's deadline.
"""

import argparse
import multiprocessing
import random
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.records import Request
from hpcpipe.compose.api import compose_run
from tests.servers.certificates import make_certificates
from tests.servers.nginx import nginx_server

PHOTOS = Path(__file__).resolve().parents[1] / "tests" / "data" / "photos"
PHOTO_BYTES = range(90_000, 250_000)
NUM_HOSTS = 1000
DEADLINE_S = 10.0


def options() -> FetchOptions:
    """The stage's own, but for what loopback and a short run need."""
    return replace(
        compose_run("download", input="unused").stage.fetch,
        deadline_s=DEADLINE_S,
        allow_private_hosts=True,
        obey_robots_txt=False,
        obey_tdmrep=False,
    )


class Figures(NamedTuple):
    """What one round found."""

    rate_per_s: float
    tail_s: float
    cpu_s: float
    num_good: int
    num_failed: int


def lookup(host: str, port: int) -> list[str]:
    """Each name its own address of this machine."""
    number = int(host.partition(".")[0].removeprefix("host"))
    return [f"127.{1 + number // 250}.0.{1 + number % 250}"]


def fetch_all(urls: list[str]) -> Figures:
    begun = last = time.monotonic()
    num_good = num_failed = 0
    with Fetcher(options(), lookup) as fetcher:
        for one in fetcher.fetch(Request(*pair) for pair in enumerate(urls)):
            if one.failure is None:
                num_good += 1
                last = time.monotonic()
            else:
                num_failed += 1
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Figures(
        rate_per_s=num_good / (last - begun),
        tail_s=time.monotonic() - last,
        cpu_s=used.ru_utime + used.ru_stime,
        num_good=num_good,
        num_failed=num_failed,
    )


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections and says nothing; gives its port."""
    kept = []

    def accept() -> None:
        while True:
            kept.append(listener.accept()[0])

    with socket.create_server(("", 0), backlog=1024) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def make_urls(
    names: list[str], num_urls: int, port: int, silent_port: int, num_silent: int
) -> list[str]:
    """One URL a host in turn; so many of the hosts are the silent one."""
    chosen = random.Random(0)
    hosts = list(range(NUM_HOSTS))
    urls = []
    while len(urls) < num_urls:
        chosen.shuffle(hosts)
        for host in hosts:
            where = f"host{host}.test:{port}" if host >= num_silent else f"host0.test:{silent_port}"
            urls.append(f"http://{where}/{names[len(urls) % len(names)]}")
    return urls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpcpipe-silent-") as folder:
        root = Path(folder, "root")
        root.mkdir()
        for photo in PHOTOS.glob("*.jpg"):
            if photo.stat().st_size in PHOTO_BYTES:
                (root / photo.name).write_bytes(photo.read_bytes())
        names = sorted(path.name for path in root.iterdir())
        mean = sum((root / name).stat().st_size for name in names) / len(names)
        print(f"{len(names)} photos of {mean / 1000:.0f} KB on average, {options.urls} URLs")
        certificates = make_certificates(Path(folder), ["localhost"])
        with (
            nginx_server(root, certificates.server, certificates.key) as nginx,
            silent_server() as silent_port,
        ):
            compare(
                {
                    num: make_urls(names, options.urls, nginx.port, silent_port, num)
                    for num in (0, 1, 100)
                },
                options.rounds,
            )


def compare(lists: dict[int, list[str]], num_rounds: int) -> None:
    found: dict[int, list[Figures]] = {num: [] for num in lists}
    for number in range(num_rounds):
        for num, urls in lists.items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[num].append(pool.apply(fetch_all, (urls,)))
        rates = ", ".join(f"{rounds[-1].rate_per_s:.0f}" for rounds in found.values())
        print(f"round {number + 1}: {rates} photos/s", flush=True)
    for num, rounds in found.items():
        show(num, rounds, found[0])


def show(num_silent: int, rounds: list[Figures], plain: list[Figures]) -> None:
    rate_per_s = median(one.rate_per_s for one in rounds)
    ratio = median(
        one.rate_per_s / base.rate_per_s for one, base in zip(rounds, plain, strict=True)
    )
    cpu_s = median(one.cpu_s / one.num_good for one in rounds) * 1000
    print(
        f"{num_silent} of {NUM_HOSTS} hosts silent: {rate_per_s:.0f} photos/s, ratio {ratio:.2f}, "
        f"tail {max(one.tail_s for one in rounds):.1f} s, {cpu_s:.2f} CPU-s for 1,000 photos, "
        f"{rounds[-1].num_good} good, {rounds[-1].num_failed} failed"
    )


if __name__ == "__main__":
    main()
