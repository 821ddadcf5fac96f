"""`models/registry.toml` as typed records.

The file is written by hand and read by two programs, so a field neither of them knows is an error that names the
field: a misspelt `max_lenght` must not silently become a default.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pip carries the same parser, so that `--runtime-only` needs no install
    from pip._vendor import tomli as tomllib

SCHEMA_VERSION = 1
CUDA_PRECISIONS = ("bf16", "f16")


class RegistryError(Exception):
    """The registry does not say what it must, or says something nobody reads."""


@dataclasses.dataclass(frozen=True)
class RuntimePackage:
    """A registry package whose wheel carries libonnxruntime."""

    package: str
    version: str


@dataclasses.dataclass(frozen=True)
class Runtime:
    """The package with ONNX Runtime's own kernels, and those with another provider's."""

    package: str
    version: str
    openvino: RuntimePackage | None = None
    cuda: RuntimePackage | None = None

    def of(self, provider: str) -> RuntimePackage:
        """The package of one provider; an unknown one is an error listing the known ones."""
        packages = {"cpu": RuntimePackage(self.package, self.version), "openvino": self.openvino, "cuda": self.cuda}
        known = {name: package for name, package in packages.items() if package is not None}
        if provider not in known:
            raise RegistryError(f"no runtime for the provider `{provider}` in the registry; it has: {', '.join(known)}")
        return known[provider]


@dataclasses.dataclass(frozen=True)
class Part:
    """One member of one wheel."""

    package: str
    version: str
    file: str


@dataclasses.dataclass(frozen=True)
class PackageSource:
    """A registry package's wheel; several parts are concatenated in order."""

    parts: list[Part]

    def __str__(self) -> str:
        return f"package {self.parts[0].package}=={self.parts[0].version}"


@dataclasses.dataclass(frozen=True)
class HubSource:
    """A file of a model hub repository at a pinned revision."""

    repo: str
    revision: str
    file: str

    def __str__(self) -> str:
        return f"hub {self.repo}@{self.revision}/{self.file}"

    def is_pinned(self) -> bool:
        """Whether the revision is a commit, whose content cannot change, and not a branch or a tag."""
        return re.fullmatch("[0-9a-f]{40}", self.revision) is not None


@dataclasses.dataclass(frozen=True)
class PathSource:
    """A file on this machine, relative to the registry."""

    path: str

    def __str__(self) -> str:
        return f"path {self.path}"


Source = PackageSource | HubSource | PathSource
SOURCE_KINDS: dict[str, type] = {"package": PackageSource, "hub": HubSource, "path": PathSource}


@dataclasses.dataclass(frozen=True)
class Artifact:
    """Something to fetch, whichever source delivers it, held to one hash.

    Without a sha256 of the registry's own it is held to the one that the hub publishes for the pinned commit.
    """

    name: str
    sha256: str | None
    source: list[Source]
    bytes: int | None = None  # published size

    def identity(self) -> dict[str, str]:
        """What tells its content: the hash, or the pinned place where the hub has it."""
        return {"sha256": self.sha256} if self.sha256 else {"source": str(self.source[0])}


@dataclasses.dataclass(frozen=True)
class Decoder:
    """How prompts are rendered and where generation stops."""

    chat_template: str
    stop_tokens: list[str]
    eos_token: str
    bos_token: str | None = None


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How an evaluator's graph output becomes a score."""

    output: str
    batch_size: int
    pooling: str | None = None
    head: str | None = None
    labels: list[str] | None = None
    target: str | None = None
    minus: str | None = None
    against: str | None = None
    order: str | None = None
    batch_dependent: bool = False


@dataclasses.dataclass(frozen=True)
class Export:
    """How the ONNX graph is made and how far it may stray from the reference."""

    recipe: str
    logit_tolerance: float
    quantization: str | None = None
    head: str | None = None
    cuda_precision: str | None = None  # of a decoder's export for the provider cuda, in a directory of its own


@dataclasses.dataclass(frozen=True)
class Model:
    """One `[[model]]` entry."""

    key: str
    pool: str
    role: str
    architecture: str
    precision: str
    name: str
    upstream: str
    licence: str
    max_length: int
    files: list[str]
    export: Export
    artifact: list[Artifact]
    licence_note: str | None = None
    gated: bool = False  # the licence has to be accepted on the hub's page of `upstream`
    parameters: int | None = None
    fixed_length: int | None = None
    decoder: Decoder | None = None
    scoring: Scoring | None = None

    def export_hash(self) -> str:
        """Changes when, and only when, the exported files or their gate could come out differently.

        Where the bytes came from, who licensed them and what the model is called do not count; nor does a field that
        is not set, so that a new one leaves the exports of models without it as they are.
        """
        entry = _set_fields(dataclasses.asdict(self))
        for descriptive in ("pool", "role", "name", "upstream", "licence", "licence_note", "gated", "parameters"):
            entry.pop(descriptive, None)
        entry["export"].pop("cuda_precision", None)  # the export of that precision lies, and is described, elsewhere
        entry["artifact"] = [{"name": artifact.name} | artifact.identity() for artifact in self.artifact]
        return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Providers:
    """Who computes: ONNX Runtime's provider for LLMs and for evaluators."""

    inference: str = "cpu"
    evaluator: str = "cpu"

    def of(self, model: Model) -> str:
        """The one that a model is exported for."""
        return self.inference if model.role == "inference" else self.evaluator

    @property
    def runtime(self) -> str:
        """Whose build of ONNX Runtime a run loads: the one for a GPU computes on the CPU too."""
        return self.inference if self.inference == "cuda" else self.evaluator


@dataclasses.dataclass(frozen=True)
class Registry:
    """The whole file."""

    runtime: Runtime
    models: list[Model]

    def select(self, pool: str | None, keys: list[str]) -> list[Model]:
        """The models named by key, or else those of a pool; an unknown name is an error listing the known ones."""
        by_key = {model.key: model for model in self.models}
        if unknown := [key for key in keys if key not in by_key]:
            raise RegistryError(f"no model `{unknown[0]}` in the registry; it has: {', '.join(by_key)}")
        if keys:
            return [by_key[key] for key in keys]
        chosen = [model for model in self.models if model.pool == pool]
        if not chosen:
            pools = sorted({model.pool for model in self.models})
            raise RegistryError(f"no model in pool `{pool}`; the registry has: {', '.join(pools)}")
        return chosen


def load(path: Path) -> Registry:
    """Read and check the registry."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    if (version := table.pop("schema_version", None)) != SCHEMA_VERSION:
        raise RegistryError(f"{path}: schema_version is {version}, this exporter reads {SCHEMA_VERSION}")
    entries = table.pop("model", [])
    runtime = _runtime(table.pop("runtime", {}))
    if table:
        raise RegistryError(f"{path}: unknown field `{next(iter(table))}`")
    models = [_model(entry) for entry in entries]
    keys = [model.key for model in models]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise RegistryError(f"{path}: model `{twice[0]}` is listed twice")
    return Registry(runtime, models)


def models_of_experiment(path: Path) -> list[str]:
    """Keys of the models whose files an experiment needs, each once; variants of evaluators stand for their model."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    scoring = table.get("scoring", {})
    variants = {key: variant.get("model") for key, variant in scoring.get("variants", {}).items()}
    keys = table.get("generation", {}).get("models", []) + scoring.get("evaluators", [])
    keys += scoring.get("unpaid_evaluators", [])
    if not keys:
        raise RegistryError(f"{path} names no models")
    return list(dict.fromkeys(variants.get(key) or key for key in keys))


def providers_of_experiment(path: Path) -> Providers:
    """Who computes in an experiment; the CPU where it does not say."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    inference, evaluator = (table.get(name, {}).get("provider", "cpu") for name in ("generation", "scoring"))
    return Providers(inference, evaluator)


def _runtime(entry: dict[str, Any]) -> Runtime:
    others = {name: value for name, value in entry.items() if isinstance(value, dict)}
    packages = {name: record(RuntimePackage, value, f"[runtime.{name}]") for name, value in others.items()}
    return record(Runtime, entry | packages, "[runtime]")


def _model(entry: dict[str, Any]) -> Model:
    where = f"model `{entry.get('key', '?')}`"
    entry = dict(entry)
    for name, cls in (("decoder", Decoder), ("scoring", Scoring), ("export", Export)):
        if name in entry:
            entry[name] = record(cls, entry[name], f"{where}, [model.{name}]")
    entry["artifact"] = [_artifact(artifact, where) for artifact in entry.get("artifact", [])]
    model = record(Model, entry, where)
    if not model.artifact:
        raise RegistryError(f"{where}: no [[model.artifact]]")
    if not isinstance(model.gated, bool):
        raise RegistryError(f"{where}: `gated` is {model.gated!r}; it must be true or false")
    if model.export.cuda_precision not in (None, *CUDA_PRECISIONS):
        raise RegistryError(
            f"{where}: `cuda_precision` is `{model.export.cuda_precision}`, not one of {', '.join(CUDA_PRECISIONS)}"
        )
    return model


def _artifact(entry: dict[str, Any], where: str) -> Artifact:
    where = f"{where}, artifact `{entry.get('name', '?')}`"
    sources = [_source(source, where) for source in entry.get("source", [])]
    if not sources:
        raise RegistryError(f"{where}: no source")
    artifact = record(Artifact, {"sha256": None, **entry, "source": sources}, where)
    if artifact.sha256 is None and not all(isinstance(source, HubSource) and source.is_pinned() for source in sources):
        raise RegistryError(
            f"{where}: field `sha256` is missing; only hub sources whose `revision` is a commit (40 hex digits) do without"
        )
    if artifact.sha256 is None and len(set(sources)) > 1:
        raise RegistryError(f"{where}: several sources need a `sha256`, or nothing says that they hold the same file")
    if artifact.bytes is not None and (not isinstance(artifact.bytes, int) or artifact.bytes < 1):
        raise RegistryError(f"{where}: `bytes` is {artifact.bytes!r}; it must be the size of the file, at least 1")
    return artifact


def _source(entry: dict[str, Any], where: str) -> Source:
    entry = dict(entry)
    kind = entry.pop("kind", None)
    if kind not in SOURCE_KINDS:
        raise RegistryError(f"{where}: source kind `{kind}` is not one of {', '.join(SOURCE_KINDS)}")
    if kind == "package":
        entry["parts"] = [record(Part, part, f"{where}, part") for part in entry.get("parts", [])]
    return record(SOURCE_KINDS[kind], entry, f"{where}, source")


def record(cls: type, entry: dict[str, Any], where: str) -> Any:
    """Build a dataclass from a table, naming the first field that is unknown or missing."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := [name for name in entry if name not in fields]:
        raise RegistryError(f"{where}: unknown field `{unknown[0]}`; known are {', '.join(fields)}")
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    if missing := [name for name in required if name not in entry]:
        raise RegistryError(f"{where}: field `{missing[0]}` is missing")
    return cls(**entry)


def _set_fields(entry: dict[str, Any]) -> dict[str, Any]:
    """The fields that are set, in nested tables too."""
    return {
        name: _set_fields(value) if isinstance(value, dict) else value for name, value in entry.items() if value is not None
    }
