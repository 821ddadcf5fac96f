"""Files of the model hub, through its own client: its cache, token, endpoint and offline settings hold as they are.

The client's own download starts anew after every interruption (2.4.0 throws its partial file away), which gigabytes do
not bear. So the bytes are fetched here, over its session and into its cache, where the client then finds them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from . import hashes
from .download import Dropped, Reply, alone_in, download
from .hub_errors import HubError, Offline, explain, is_temporary, wait_asked_for
from .progress import say
from .registry import HubSource


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file of a repository at a revision."""

    repo: str
    revision: str
    name: str
    kind: str = "model"  # or `dataset`

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}/{self.name}"

    @property
    def page(self) -> str:
        """Where a person reads about the repository and accepts its licence."""
        return f"https://huggingface.co/{'' if self.kind == 'model' else f'{self.kind}s/'}{self.repo}"


@dataclasses.dataclass(frozen=True)
class Published:
    """What the hub says of a file before it is fetched."""

    tag: str
    hash: hashes.Expected
    bytes: int


def of_source(source: HubSource) -> HubFile:
    """The file that a model's source names."""
    return HubFile(source.repo, source.revision, source.file)


def is_offline() -> bool:
    """Whether the client was told not to touch the network."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def token() -> str | None:
    """The token that the client sends, from its environment variable or its login; never to be printed."""
    from huggingface_hub.utils import get_token_to_send

    return get_token_to_send(None)


def cache_folder() -> Path:
    """Where the client keeps what it fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def endpoint() -> str:
    """The hub that is asked: the public one, or what HF_ENDPOINT names."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def cached(file: HubFile) -> Path | None:
    """Where the cache has the file, if it does."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(file.repo, file.name, revision=file.revision, repo_type=file.kind)
    return Path(found) if isinstance(found, str) else None


def arrived(tag: str, file: HubFile) -> int:
    """How many bytes of a file an interrupted download has left."""
    partial = _partial(file, tag)
    return partial.stat().st_size if partial.exists() else 0


def published(file: HubFile, patient: bool = True) -> Published:
    """Ask the hub for hash and size; `patient` asks again when it does not answer. Raises `HubError`."""
    from huggingface_hub import get_hf_file_metadata

    try:
        found = get_hf_file_metadata(_address(file), retry_on_errors=patient)
    except Exception as error:  # the client's errors and those of its transport have no common base
        raise explain(error, file, token()) from None
    expected = hashes.published(found.etag)
    if expected is None or found.size is None:
        raise HubError(f"the hub publishes no hash and size for {file}; is HF_ENDPOINT a mirror of the whole hub?")
    if HubSource(file.repo, file.revision, file.name).is_pinned() and found.commit_hash != file.revision:
        raise HubError(f"the hub answers with commit {found.commit_hash} when asked for {file}")
    return Published(found.etag, expected, found.size)


def fetch(file: HubFile, sha256: str | None = None) -> Path:
    """The checked file in the client's cache, fetched if it is not there. Raises `HubError` or `DownloadError`."""
    own = hashes.Expected("sha256", sha256, "the registry") if sha256 else None
    if (path := cached(file)) is not None:
        refusal = _refusal(path, own, file)
        if refusal is None:
            return path
        say(f"  {file} in the hub's cache is not what it should be: {refusal}; thrown away")
        _discard(path)
    if is_offline():
        raise Offline(f"{file} is not in the hub's cache `{cache_folder()}`, and HF_HUB_OFFLINE forbids to fetch it")
    facts = published(file)
    if own and facts.hash.kind == own.kind and facts.hash.value != own.value:
        raise HubError(f"{file} is another file: the hub says sha256 {facts.hash.value}, the registry says {own.value}")
    partial = _partial(file, facts.tag)
    blob, expected = partial.with_name(facts.tag), own or facts.hash
    with alone_in(partial.parent, file.name):
        if not blob.exists() or expected.refusal(blob):
            _bring(file, partial, facts, expected)
            os.replace(partial, blob)
    return _enter(file)


def _bring(file: HubFile, partial: Path, facts: Published, expected: hashes.Expected) -> None:
    """Leave the checked file at `partial`. What was put together from two runs and is wrong gets one more chance."""
    for resumed in (True, False) if partial.exists() else (False,):
        download(file.name, partial, facts.bytes, lambda start: _open(file, start))
        if (refusal := expected.refusal(partial)) is None:
            return
        partial.unlink()
        if not resumed:
            raise HubError(f"{file} arrived damaged: {refusal}; it was thrown away")
        say(f"  {file.name}: put together from two runs and damaged ({refusal}); fetched anew")


def _enter(file: HubFile) -> Path:
    """Let the client take a blob that is in place into its snapshot of the revision."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        return Path(hf_hub_download(file.repo, file.name, revision=file.revision, repo_type=file.kind))
    except Exception as error:
        raise explain(error, file, token()) from None


def _refusal(path: Path, own: hashes.Expected | None, file: HubFile) -> str | None:
    """Why a cached file is not the expected one. Without the registry's hash its blob's name says what it should be."""
    expected = own or (hashes.published(Path(os.readlink(path)).name) if path.is_symlink() else None)
    if expected is None and not is_offline():
        expected = published(file).hash
    if expected is None:
        say(f"  {file}: taken from the cache unchecked; without symbolic links it does not keep the hash")
    return expected.refusal(path) if expected else None


def _discard(path: Path) -> None:
    """Take a file out of the cache, its blob as well."""
    if path.is_symlink():
        (path.parent / os.readlink(path)).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _partial(file: HubFile, tag: str) -> Path:
    """Where an unfinished download lies: beside the cache's blobs, under the name of its content."""
    from huggingface_hub.file_download import repo_folder_name

    return cache_folder() / repo_folder_name(repo_id=file.repo, repo_type=file.kind) / "blobs" / f"{tag}.poq.part"


def _address(file: HubFile) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(file.repo, file.name, revision=file.revision, repo_type=file.kind)


@contextlib.contextmanager
def _open(file: HubFile, start: int) -> Iterator[Reply]:
    """A stream of the file from byte `start`. The hub redirects to a store; the token stays with the hub."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with contextlib.ExitStack() as stack:
        try:
            response = stack.enter_context(get_session().stream("GET", _address(file), headers=headers))
            hf_raise_for_status(response)
        except Exception as error:
            raise _dropped(error, file) from None
        start = start if response.status_code == 206 else 0
        length = response.headers.get("Content-Length")

        def chunks() -> Iterator[bytes]:
            try:
                yield from response.iter_bytes()  # as they arrive: what waits for a full block is lost with the connection
            except Exception as error:
                raise _dropped(error, file) from None

        yield Reply(start, start + int(length) if length else None, chunks())


def _dropped(error: Exception, file: HubFile) -> Exception:
    """What may pass as `Dropped`, anything else explained."""
    if is_temporary(error):
        return Dropped(str(explain(error, file, token())), wait_asked_for(error))
    return explain(error, file, token())
