"""A Hub on loopback: serves folders as models to huggingface_hub, and as badly as a test wants."""

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_secretsecretsecret"


class Hub:
    """What it serves, and how; all may be changed at any time.

    Attributes:
        url: for HF_ENDPOINT.
        folders: folder by name of the model.
        refs: commit by branch, tag or commit, for all models.
        gated: models whose files are for those with a token only.
        private: models that are for those with a token only.
        status: of every answer, instead of what would be answered.
        cut_after: bytes of a file after which its connection is closed, by name; once each.
        held: names of files that are answered by half, and then by silence.
        reached: set once a held file has been asked for.
        asked: how often each ``METHOD PATH`` was asked for.
        sent: bytes sent of each file.
        tokens: what requests came with.
    """

    def __init__(self) -> None:
        self.url = ""
        self.folders: dict[str, Path] = {}
        self.refs = {"main": hashlib.sha1(b"main").hexdigest()}
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.status = 0
        self.cut_after: dict[str, int] = {}
        self.held: set[str] = set()
        self.reached = threading.Event()
        self.released = threading.Event()
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.tokens: set[str] = set()

    def add(self, name: str, folder: Path) -> Path:
        """Serve a folder as a model."""
        self.folders[name] = folder
        return folder

    def use(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        """Have this process, and those it starts, talk to this Hub and keep all in a folder."""
        for name, value in (("HF_ENDPOINT", self.url), ("HF_HOME", str(home))):
            monkeypatch.setenv(name, value)
        for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        # huggingface_hub reads its environment once, when it is imported.
        constants = "huggingface_hub.constants"
        monkeypatch.setattr(f"{constants}.ENDPOINT", self.url)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", self.url)
        url = f"{self.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)

    def commit(self, revision: str) -> str | None:
        return revision if revision in self.refs.values() else self.refs.get(revision)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked[f"{self.command} {path}"] += 1
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.tokens.add(token)
        if self.hub.status:
            return self._refuse(self.hub.status)
        if token and token != TOKEN:
            return self._refuse(401, message="Invalid credentials in Authorization header")
        is_api = path.startswith("/api/models/")
        name = "/".join(path.removeprefix("/api/models").split("/")[1:3])
        folder = self.hub.folders.get(name)
        if folder is None or (name in self.hub.private and not token):
            return self._refuse(404 if token else 401, "RepoNotFound" if token else "")
        rest = path.partition(f"{name}/")[2]
        kind, _, where = rest.partition("/")
        revision, _, file = where.partition("/")
        commit = self.hub.commit(revision or "main")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if is_api:
            return self._json(self._tree(folder) if kind == "tree" else self._info(name, commit))
        if name in self.hub.gated and not token:
            return self._refuse(401, "GatedRepo", "Access to this model is restricted")
        if not (folder / file).is_file():
            return self._refuse(404, "EntryNotFound")
        return self._file(folder / file, file, commit)

    def _info(self, name: str, commit: str) -> object:
        folder = self.hub.folders[name]
        siblings = [
            {"rfilename": each["path"], "size": each["size"]} for each in self._tree(folder)
        ]
        return {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []}

    def _tree(self, folder: Path) -> list[dict[str, object]]:
        return [
            {
                "type": "file",
                "path": str(path.relative_to(folder)),
                "size": path.stat().st_size,
                "oid": _etag(path),
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str = "", message: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if message:
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, path: Path, name: str, commit: str) -> None:
        data = path.read_bytes()
        wanted = self.headers.get("Range", "")
        first = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        body = data[first:]
        if name in self.hub.held:
            self._send(name, body[: len(body) // 2])
            self.hub.reached.set()
            self.hub.released.wait()
            self.close_connection = True
        elif (cut := self.hub.cut_after.pop(name, None)) is not None:
            self._send(name, body[:cut])
            self.close_connection = True
        else:
            self._send(name, body)

    def _send(self, name: str, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)
            self.wfile.flush()
            self.hub.sent[name] += len(data)


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    """A Hub for as long as a ``with`` block lasts. Raises OSError."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
