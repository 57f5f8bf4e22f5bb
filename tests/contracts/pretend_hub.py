"""A server on this machine that speaks as much of the Hugging Face Hub as its library asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlparse

Files = dict[str, bytes]
TOKEN = "hf_of_its_owner"  # without it nothing is written, and nothing private is read


class PretendHub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        repositories: files of each commit, the latest last, by owner and name.
        private: repositories that only the token opens.
        gated: repositories whose owner is to be asked.
        served: files that it sends in place of those that it has, by name.
        asked: what was asked of it, method and path.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, Files]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.large: Files = {}
        self.served: Files = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repository: str, files: Files) -> str:
        """Add files to what a repository holds; returns the commit."""
        commits = self.repositories.setdefault(repository, {})
        whole = {**(list(commits.values())[-1] if commits else {}), **files}
        listed = [(name, hashlib.sha256(content).hexdigest()) for name, content in whole.items()]
        commit = hashlib.sha1(f"{len(commits)} {sorted(listed)}".encode()).hexdigest()
        commits[commit] = whole
        return commit


@contextmanager
def running() -> Iterator[PretendHub]:
    """A hub that answers within a block."""
    with PretendHub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: PretendHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(f"{method} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for kind, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method in kind:
                return answer(self, body, *found.groups())
        return self._fail(404, "EntryNotFound")

    @property
    def _is_owner(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, values: Any, status: int = 200) -> None:
        self._send(json.dumps(values).encode(), status, Content_Type="application/json")

    def _fail(self, status: int, code: str) -> None:
        self._send(b"{}", status, X_Error_Code=code, X_Error_Message=code)

    def _commit_of(self, repository: str, revision: str) -> str | None:
        """The commit of a revision; says itself why there is none."""
        commits = self.server.repositories.get(repository)
        if commits is None or (repository in self.server.private and not self._is_owner):
            return self._fail(404, "RepoNotFound")
        if repository in self.server.gated:
            return self._fail(403, "GatedRepo")
        commit = [*commits][-1] if revision == "main" else revision
        return commit if commit in commits else self._fail(404, "RevisionNotFound")

    def info(self, body: bytes, repository: str, revision: str | None) -> None:
        commit = self._commit_of(repository, revision or "main")
        if commit is not None:
            files = self.server.repositories[repository][commit]
            siblings = [{"rfilename": name, "size": len(files[name])} for name in files]
            self._json({"id": repository, "sha": commit, "siblings": siblings})

    def resolve(self, body: bytes, repository: str, revision: str, name: str) -> None:
        commit = self._commit_of(repository, revision)
        if commit is None:
            return
        files = self.server.repositories[repository][commit]
        if name not in files:
            return self._fail(404, "EntryNotFound")
        etag = hashlib.sha256(files[name]).hexdigest()
        content = self.server.served.get(name, files[name])
        self._send(content, ETag=f'"{etag}"', X_Repo_Commit=commit)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        repository = f"{asked['organization']}/{asked['name']}"
        if not self._is_owner:
            return self._fail(403, "Forbidden")
        status = 409 if repository in self.server.repositories else 200
        if status == 200:
            self.server.commit(repository, {".gitattributes": b""})
            if asked.get("visibility") == "private" or asked.get("private"):
                self.server.private.add(repository)
        self._json({"url": f"{self.server.url}/{repository}"}, status)

    def validate(self, body: bytes) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, repository: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._json({"files": files})

    def batch(self, body: bytes, repository: str) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.server.url}/lfs/{each['oid']}"}}}
            for each in json.loads(body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.large[oid] = body
        self._json({})

    def commit(self, body: bytes, repository: str) -> None:
        if not self._is_owner:
            return self._fail(403, "Forbidden")
        files = {}
        for line in body.splitlines():
            record = json.loads(line)
            value = record["value"]
            if record["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif record["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        oid = self.server.commit(repository, files)
        url = f"{self.server.url}/{repository}/commit/{oid}"
        self._json({"commitOid": oid, "commitUrl": url})


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: tuple[tuple[tuple[str, ...], str, Callable[..., None]], ...] = (
    (("GET",), rf"/api/models/{_NAME}(?:/revision/(.+))?", _Handler.info),
    (("GET", "HEAD"), rf"/{_NAME}/resolve/(\w+)/(.+)", _Handler.resolve),
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate),
    (("POST",), rf"/api/models/{_NAME}/preupload/main", _Handler.preupload),
    (("POST",), rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (("PUT",), r"/lfs/(\w+)", _Handler.upload),
    (("POST",), rf"/api/models/{_NAME}/commit/main", _Handler.commit),
)
