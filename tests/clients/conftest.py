"""Options with short patience, servers on loopback, and a short way to fetch."""

import dataclasses
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.records import Fetched, Request
from tests.servers.certificates import Certificates, make_certificates
from tests.servers.nginx import Nginx, nginx_server
from tests.servers.raw_http import RawServer, raw_server

OPTIONS = FetchOptions(
    agent="hpcpipe",
    contact="tests@example.org",
    max_transfers=32,
    max_per_host=8,
    host_rate_per_s=None,
    max_waiting=1000,
    deadline_s=60.0,
    host_wait_s=60.0,
    connect_timeout_s=30.0,
    max_tries=1,
    backoff_s=0.01,
    max_redirects=5,
    max_file_bytes=1 << 20,
    max_held_bytes=64 << 20,
    dns_threads=4,
    dns_tries=3,
    dns_ttl_s=60.0,
    dns_negative_ttl_s=60.0,
    dead_after=1000,
    dead_host_s=60.0,
    max_hosts=10_000,
    allow_private_hosts=True,
    verify_tls=True,
    ca_file=None,
    obey_robots_txt=False,
    obey_tdmrep=False,
    x_robots_directives=("noai", "noimageai", "noindex", "noimageindex"),
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers are here, whatever proxy the machine has."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def options() -> Callable[..., FetchOptions]:
    """`OPTIONS` with changes."""
    return lambda **changes: dataclasses.replace(OPTIONS, **changes)


def by_index(fetched: list[Fetched]) -> list[Fetched]:
    return sorted(fetched, key=lambda one: one.index)


@pytest.fixture
def fetch() -> Callable[..., list[Fetched]]:
    """Fetch URLs and give what came in the order asked for."""

    def fetch(*urls: str, lookup=None, **changes) -> list[Fetched]:
        hook = {"lookup": lookup} if lookup else {}
        with Fetcher(dataclasses.replace(OPTIONS, **changes), **hook) as fetcher:
            return by_index(list(fetcher.fetch(Request(*one) for one in enumerate(urls))))

    return fetch


@pytest.fixture
def server() -> Iterator[RawServer]:
    """A server that answers as the test wants, on 127.0.0.1."""
    with raw_server() as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For localhost, 127.0.0.1 and good.test."""
    names = ["localhost", "127.0.0.1", "good.test"]
    return make_certificates(tmp_path_factory.mktemp("certificates"), names)


@pytest.fixture(scope="session")
def nginx(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[SimpleNamespace]:
    """A real server of 200 small files, one of text, and one without content."""
    root = tmp_path_factory.mktemp("root")
    root.chmod(0o755)
    for number in range(200):
        (root / f"{number}.jpg").write_bytes(bytes([number]) * (100 + 1000 * number))
    (root / "words.txt").write_text("many words, " * 10_000)
    (root / "empty.jpg").touch()
    with nginx_server(root, certificates.server, certificates.key) as server:
        yield _with_root(server, root)


def _with_root(server: Nginx, root) -> SimpleNamespace:
    return SimpleNamespace(**vars(server), root=root)
