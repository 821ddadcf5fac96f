"""A server on this machine that speaks the hub's protocol and serves folders as repositories, with faults on demand.

The files that the hub keeps in a store come, as there, by a redirect to another origin with a signed address.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from poq_export import hashes

SIGNATURE = "Signature=a-secret-of-the-store"
STORED = (".safetensors", ".parquet", ".onnx")  # kept in the store; the rest is in git


@dataclasses.dataclass
class Repository:
    """One repository at one commit."""

    files: dict[str, Path]
    commit: str
    gated: bool = False


@dataclasses.dataclass
class Faults:
    """What goes wrong, by file name; each list is used up from the front, one entry for each GET of the bytes."""

    cuts: dict[str, list[int]] = dataclasses.field(default_factory=dict)  # close the connection after so many bytes
    statuses: dict[str, list[int]] = dataclasses.field(default_factory=dict)  # answer with these first; 200 lets one through
    damaged: set[str] = dataclasses.field(default_factory=set)  # another byte in the middle
    deaf_to_ranges: bool = False  # always sends the whole file


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that goes away in the middle is nothing to tell of."""


class HubServer:
    """Runs until closed; `asked` is every request as (method, path, headers with lower-case names)."""

    def __init__(self, token: str = "hf_of_the_tests") -> None:
        self.token = token
        self.granted = True  # whether the account of the token accepted the licences
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.faults = Faults()
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self._hub, self._store = (_Quiet(("127.0.0.1", 0), self._handler(answer)) for answer in (_hub, _store))
        for server in (self._hub, self._store):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._hub.server_port}"

    @property
    def store(self) -> str:
        """Where stored files are. Another host by name, so that a token sent there would be sent to a stranger."""
        return f"http://localhost:{self._store.server_port}"

    def add(self, repo: str, folder: Path, kind: str = "model", gated: bool = False) -> str:
        """Serve the files of a folder; returns the commit."""
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        digest = hashlib.sha1(repo.encode())
        for name, path in files.items():
            digest.update(name.encode() + path.read_bytes())
        self.repositories[kind, repo] = Repository(files, digest.hexdigest(), gated)
        return digest.hexdigest()

    def gets(self, name: str) -> list[dict[str, str]]:
        """Headers of the requests for the bytes of a file, wherever they lie."""
        asked = [(unquote(urlsplit(path).path), path, headers) for method, path, headers in self.asked if method == "GET"]
        found = [(path, headers) for place, path, headers in asked if place.endswith(f"/{name}")]
        return [headers for path, headers in found if name.endswith(STORED) == (SIGNATURE in path)]

    def close(self) -> None:
        """Stop serving."""
        for server in (self._hub, self._store):
            server.shutdown()
            server.server_close()

    def _handler(self, answer: Any) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802
                owner.asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
                answer(owner, self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def shard(folder: Path) -> None:
    """Split `model.safetensors` of a folder in two, with the index that says where each tensor is."""
    from safetensors.numpy import load_file, save_file

    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    places = {name: f"model-0000{1 + (2 * number >= len(names))}-of-00002.safetensors" for number, name in enumerate(names)}
    for file in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == file}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(array.nbytes for array in tensors.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    whole.unlink()


def _hub(server: HubServer, request: BaseHTTPRequestHandler) -> None:
    parts = unquote(urlsplit(request.path).path).strip("/").split("/")
    api = parts[0] == "api"
    parts = parts[1:] if api else parts
    kind = "dataset" if parts[0] == "datasets" else "model"
    if parts[0] in ("datasets", "models"):
        parts = parts[1:]
    repo = server.repositories.get((kind, "/".join(parts[:2])))
    if repo is None or len(parts) < 4:
        return _refuse(request, 401, "RepoNotFound")
    sent = request.headers.get("Authorization")
    if sent is not None and sent != f"Bearer {server.token}":
        return _refuse(request, 401, None, "Invalid credentials in Authorization header")
    if parts[3] not in (repo.commit, "main"):
        return _refuse(request, 404, "RevisionNotFound")
    if api:
        return _describe(request, repo, parts[2])
    if repo.gated and sent is None:
        return _refuse(request, 401, "GatedRepo", "Access to this repository is restricted")
    if repo.gated and not server.granted:
        return _refuse(request, 403, "GatedRepo", "Access to this repository is restricted")
    name = "/".join(parts[4:])
    if name not in repo.files:
        return _refuse(request, 404, "EntryNotFound")
    path = repo.files[name]
    head = {"X-Repo-Commit": repo.commit}
    if not name.endswith(STORED):
        return _send(server, request, name, path, head | {"ETag": f'"{hashes.git_blob(path)}"'})
    head |= {
        "X-Linked-ETag": f'"{hashes.sha256(path)}"',
        "X-Linked-Size": str(path.stat().st_size),
        "ETag": '"of-the-redirect"',
    }
    return _reply(request, 302, head | {"Location": f"{server.store}/{quote(str(path))}?{SIGNATURE}", "Content-Length": "0"})


def _store(server: HubServer, request: BaseHTTPRequestHandler) -> None:
    address = urlsplit(request.path)
    path = Path(unquote(address.path).replace("//", "/"))
    if address.query != SIGNATURE:
        return _refuse(request, 403, None)
    return _send(server, request, path.name, path, {"ETag": '"of-the-store"'})


def _describe(request: BaseHTTPRequestHandler, repo: Repository, what: str) -> None:
    """What the hub's API says of a repository: `tree` lists its files, `revision` the repository with them."""
    tree = []
    for name, path in repo.files.items():
        entry: dict[str, Any] = {"type": "file", "oid": hashes.git_blob(path), "size": path.stat().st_size, "path": name}
        if name.endswith(STORED):
            entry["lfs"] = {"oid": hashes.sha256(path), "size": path.stat().st_size, "pointerSize": 134}
        tree.append(entry)
    siblings = [{"rfilename": name} for name in repo.files]
    info = {"id": "a/b", "sha": repo.commit, "gated": "manual" if repo.gated else False, "siblings": siblings, "tags": []}
    body = json.dumps(tree if what == "tree" else info).encode()
    _reply(request, 200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)


def _send(server: HubServer, request: BaseHTTPRequestHandler, name: str, path: Path, head: dict[str, str]) -> None:
    """The bytes of a file, or those of a range, or less of them than promised."""
    content = path.read_bytes()
    size = len(content)
    if request.command == "HEAD":
        return _reply(request, 200, head | {"Content-Length": str(size)})
    if (statuses := server.faults.statuses.get(name)) and (status := statuses.pop(0)) != 200:
        return _refuse(request, status, None)
    if name in server.faults.damaged:
        content = content[: size // 2] + bytes([content[size // 2] ^ 1]) + content[size // 2 + 1 :]
    start = 0
    if (asked := request.headers.get("Range")) and not server.faults.deaf_to_ranges:
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= size:
            return _refuse(request, 416, None)
        head |= {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
    promised = content[start:]
    cuts = server.faults.cuts.get(name)
    sent = promised[: cuts.pop(0)] if cuts else promised
    _reply(request, 206 if start else 200, head | {"Content-Length": str(len(promised)), "Accept-Ranges": "bytes"}, sent)
    if len(sent) < len(promised):
        request.close_connection = True
    return None


def _refuse(request: BaseHTTPRequestHandler, status: int, code: str | None, message: str = "no") -> None:
    head = {"Content-Length": "0", "X-Error-Message": message, "Retry-After": "0"}
    _reply(request, status, head | ({"X-Error-Code": code} if code else {}))


def _reply(request: BaseHTTPRequestHandler, status: int, head: dict[str, str], body: bytes = b"") -> None:
    request.send_response(status)
    for name, value in head.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
        request.wfile.flush()
