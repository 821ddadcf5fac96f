"""`datasets/registry.toml`, as far as fetching goes: which file a data set needs, where it comes from, whether it is there.

poq itself reads the same file (`src/dataset/registry.rs`) and refuses what it does not know; this side reads the rest
leniently.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from . import hub, web
from .download import DownloadError, require_space
from .hashes import sha256
from .hub_errors import HubError
from .progress import size, step
from .registry import HubSource, RegistryError, record, tomllib


@dataclasses.dataclass(frozen=True)
class UrlSource:
    """A file at an address."""

    url: str

    def __str__(self) -> str:
        return self.url


FETCH_KINDS: dict[str, type] = {"hub": HubSource, "url": UrlSource}


class DatasetError(Exception):
    """A data set of the experiment cannot be brought."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One `[[dataset]]`: its file, the hash it is held to, and the places to fetch it from, tried in order."""

    key: str
    path: Path
    sha256: str | None
    source: str
    fetch: list[HubSource | UrlSource]

    def origin(self) -> Path:
        """A note beside a file without a hash of the registry's own: where it was fetched from."""
        return self.path.with_name(f"{self.path.name}.origin")

    def problem(self) -> str | None:
        """Why the file is not to be used as it lies; `None` if it is."""
        if not self.path.is_file():
            return "is not there"
        if self.sha256:
            found = sha256(self.path)
            return None if found == self.sha256 else f"has sha256 {found}, the registry says {self.sha256}"
        if not self.fetch:
            return None
        known = self.origin().read_text(encoding="utf-8").strip() if self.origin().exists() else "an unknown place"
        return None if known in map(str, self.fetch) else f"is from {known}"


def of_hub(source: HubSource) -> hub.HubFile:
    """The file of a repository of data sets."""
    return hub.HubFile(source.repo, source.revision, source.file, "dataset")


def of_experiment(experiment: Path, datasets_dir: Path) -> list[Dataset]:
    """The data sets that an experiment names; an unknown one is an error listing the known ones."""
    sets = tomllib.loads(experiment.read_text(encoding="utf-8")).get("data", {}).get("sets", [])
    known = load(datasets_dir)
    if unknown := [entry["dataset"] for entry in sets if entry["dataset"] not in known]:
        raise RegistryError(f"{experiment} names the data set `{unknown[0]}`; the registry knows: {', '.join(known)}")
    return [known[entry["dataset"]] for entry in sets]


def load(datasets_dir: Path) -> dict[str, Dataset]:
    """The registry of data sets, by key."""
    table = tomllib.loads((datasets_dir / "registry.toml").read_text(encoding="utf-8"))
    return {entry["key"]: _dataset(entry, datasets_dir) for entry in table.get("dataset", [])}


def bring(dataset: Dataset) -> None:
    """Fetch the file if it is not there as it should be. Raises `DatasetError` naming what was tried."""
    if (problem := dataset.problem()) is None:
        return
    if not dataset.fetch:
        raise DatasetError(f"data set `{dataset.key}`: `{dataset.path}` {problem}; get it from {dataset.source}")
    dataset.path.parent.mkdir(parents=True, exist_ok=True)
    refusals = []
    for source in dataset.fetch:
        try:
            with step(f"fetched data set {dataset.key}") as details:
                if isinstance(source, UrlSource):
                    web.fetch(source.url, dataset.path, dataset.sha256 or "")
                else:
                    _copy(hub.fetch(of_hub(source), dataset.sha256), dataset)
                if not dataset.sha256:
                    dataset.origin().write_text(f"{source}\n", encoding="utf-8")
                details.append(size(dataset.path.stat().st_size))
            return
        except (HubError, DownloadError, OSError) as error:
            refusals.append(f"{source}: {error}")
    raise DatasetError(f"data set `{dataset.key}` was not fetched from " + "\n    nor from ".join(refusals))


def _copy(held: Path, dataset: Dataset) -> None:
    """A run reads data sets again, long after; so they do not stay in a cache that may be emptied."""
    partial = dataset.path.with_name(f"{dataset.path.name}.{os.getpid()}.tmp")
    require_space(dataset.path.parent, held.stat().st_size, dataset.path.name)
    try:
        shutil.copyfile(held, partial)
        partial.replace(dataset.path)
    finally:
        partial.unlink(missing_ok=True)


def _dataset(entry: dict[str, Any], datasets_dir: Path) -> Dataset:
    where = f"data set `{entry['key']}`"
    sources = [_source(dict(source), where) for source in entry.get("fetch", [])]
    dataset = Dataset(entry["key"], datasets_dir / entry["path"], entry.get("sha256"), entry["source"], sources)
    for source in sources:
        if dataset.sha256 is None and not (isinstance(source, HubSource) and source.is_pinned()):
            raise RegistryError(
                f"{where}: field `sha256` is missing; only hub sources whose `revision` is a commit do without"
            )
    return dataset


def _source(entry: dict[str, Any], where: str) -> HubSource | UrlSource:
    kind = entry.pop("kind", None)
    if kind not in FETCH_KINDS:
        raise RegistryError(f"{where}: fetch kind `{kind}` is not one of {', '.join(FETCH_KINDS)}")
    return record(FETCH_KINDS[kind], entry, f"{where}, fetch")
