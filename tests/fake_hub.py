"""The few requests of the Hugging Face hub that pushing and fetching a model make, on localhost.

Models are kept in memory: {OWNER/NAME: {path: bytes}}. TOKEN may write, nobody needs one to read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_right"
COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._read(body=False)

    def do_GET(self) -> None:
        self._read(body=True)

    def do_POST(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.requests.append(f"POST {path}")
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "no"}, 401)
        if path == "/api/repos/create":
            asked = json.loads(sent)
            name = f"{asked['organization']}/{asked['name']}"
            status = 409 if name in self.server.models else 200
            self.server.models.setdefault(name, {})
            self.server.private.setdefault(name, asked.get("visibility") == "private"
                                           or bool(asked.get("private")))  # fmt: skip
            return self._answer({"url": f"{self.server.address}/{name}"}, status)
        name, _, what = path.removeprefix("/api/models/").rpartition("/main")[0].rpartition("/")
        if what == "preupload":
            files = [{**one, "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for one in json.loads(sent)["files"]]  # fmt: skip
            return self._answer({"files": files})
        return self._commit(self.server.models[name], sent, name)

    def _commit(self, model: dict[str, bytes], sent: bytes, name: str) -> None:
        for line in filter(None, sent.split(b"\n")):
            entry = json.loads(line)
            if entry["key"] == "file":
                model[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "deletedFile":
                model.pop(entry["value"]["path"], None)
        self._answer({"commitUrl": f"{self.server.address}/{name}/commit/{COMMIT}",
                      "commitOid": COMMIT})  # fmt: skip

    def _read(self, body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.requests.append(f"GET {path}")
        if path.startswith("/api/models/"):
            name = "/".join(path.split("/")[3:5])
            model = self.server.models.get(name)
            if model is None:
                return self._missing()
            entries = [{"type": "file", "path": one, "rfilename": one, "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest()}
                       for one, content in model.items()]  # fmt: skip
            if "/tree/" in path:
                return self._answer(entries)
            return self._answer({"id": name, "modelId": name, "sha": COMMIT, "private": False,
                                 "siblings": entries, "tags": []})  # fmt: skip
        if "/resolve/" not in path:
            return self._missing()
        owner, name, _, _, *rest = path.lstrip("/").split("/")
        content = self.server.models.get(f"{owner}/{name}", {}).get("/".join(rest))
        if content is None:
            return self._missing()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
        return None

    def _missing(self) -> None:
        self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def _answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None):
        text = json.dumps(content).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
