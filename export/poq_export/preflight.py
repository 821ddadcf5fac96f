"""Everything that is missing, found at once and before hours are spent."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from . import datasets, footprint, hub, machine, pipeline, providers, recording, runtime, web
from .datasets import UrlSource
from .download import DownloadError
from .plan import Plan
from .precision import BF16
from .preflight_files import Wanted, look_up
from .progress import gigabytes, say
from .providers import ProviderError
from .registry import HubSource, Model, RegistryError
from .target import Target

CUDA_PYTHON = (3, 11)  # what the packages of requirements-cuda.txt need at least
CUDA_DRIVER = 580  # the first for CUDA 13
CUDA_CAPABILITY, BF16_CAPABILITY = (7, 5), (8, 0)  # Turing, Ampere
ON_THE_CPU = 'set both `provider`s to "cpu" in the experiment (docs/reproducing.md, Without a GPU)'


@dataclasses.dataclass
class Findings:
    """What is missing, and what was found in order."""

    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def report(self) -> bool:
        """Print all of it; returns whether nothing is missing."""
        for note in self.notes:
            say(f"  {note}")
        if self.problems:
            say(f"preflight: {len(self.problems)} missing")
            for problem in self.problems:
                say(f"  - {problem}")
        else:
            say("preflight: nothing is missing")
        return not self.problems


def check(plan: Plan) -> Findings:
    """Look at everything; no check stops at the first thing it misses."""
    models, sets = len(plan.models), len(plan.datasets)
    say(f"preflight: {models} models to export, {sets} data sets to fetch, provider {plan.providers.runtime}")
    findings = Findings()
    to_come = 0
    if wanted := wanted_files(plan):
        files = look_up(wanted)
        findings.problems += files.problems
        findings.notes += files.notes
        to_come = files.to_come
    check_datasets(plan, findings)
    if plan.export:
        check_python(plan, findings)
        check_packages(plan, findings)
        check_memory(plan, findings)
        check_card(plan, findings)
        check_cuda(plan, findings)
    check_disks(plan, to_come, findings)
    check_runtime(plan, findings)
    return findings


def wanted_files(plan: Plan) -> list[Wanted]:
    """Every file that comes from the hub first of all, each once."""
    found = {}
    for model in plan.models:
        for artifact in model.artifact:
            if isinstance(first := artifact.source[0], HubSource):
                file = hub.of_source(first)
                found[file] = Wanted(file, f"model `{model.key}`", artifact.bytes, artifact.sha256, model.gated)
    for dataset in plan.datasets:
        if dataset.fetch and isinstance(first := dataset.fetch[0], HubSource):
            file = datasets.of_hub(first)
            found[file] = Wanted(file, f"data set `{dataset.key}`", None, dataset.sha256)
    return list(found.values())


def check_datasets(plan: Plan, findings: Findings) -> None:
    """Data sets that nothing says how to fetch, and addresses that do not answer."""
    for dataset in plan.datasets:
        if not dataset.fetch:
            findings.problems.append(
                f"data set `{dataset.key}`: `{dataset.path}` {dataset.problem()}; get it by hand from {dataset.source}"
            )
        elif isinstance(first := dataset.fetch[0], UrlSource):
            try:
                web.published_size(first.url)
            except DownloadError as error:
                findings.problems.append(f"data set `{dataset.key}`: {error}")


def check_python(plan: Plan, findings: Findings, version: tuple[int, int] = sys.version_info[:2]) -> None:
    """An export for a GPU has packages that an older Python cannot install."""
    for_a_gpu = any(plan.providers.of(model) == "cuda" for model in plan.models)
    if for_a_gpu and version < CUDA_PYTHON:
        needed, found = (".".join(map(str, numbers)) for numbers in (CUDA_PYTHON, version))
        findings.problems.append(
            f"python: a GPU takes Python {needed} or newer (export/requirements-cuda.txt), this is {found}: "
            f"delete .venv/export and have a newer `python3` first on the PATH, or {ON_THE_CPU}"
        )


def check_packages(plan: Plan, findings: Findings) -> None:
    """What records a reference on this machine, for models that have neither a committed one nor one of the last time."""
    unrecorded = [
        model for model in plan.models if recording.is_to_be_made(model, plan.models_dir, plan.providers.of(model))
    ]
    absent = list(dict.fromkeys(name for model in unrecorded for name in recording.lacks(model)))
    if absent and plan.torch_comes:
        findings.notes.append(f"gate: {' and '.join(absent)} are installed next, about 6 GB")
    elif absent:
        on_a_gpu = any(plan.providers.of(model) == "cuda" for model in unrecorded)
        findings.problems.append(
            f"the parity gate of {', '.join(model.key for model in unrecorded)} needs {' and '.join(absent)}: "
            f"{recording.INSTALL['cuda' if on_a_gpu else 'cpu']}"
        )


def check_memory(plan: Plan, findings: Findings) -> None:
    """One model is exported at a time, so the largest decides."""
    needs = [
        (found.export_ram, model.key) for model in plan.models if (found := footprint.of(model, plan.providers.of(model)))
    ]
    available = machine.available_memory()
    if not needs or available is None:
        return
    largest, key = max(needs)
    text = f"memory: exporting `{key}` takes about {gigabytes(largest)}, {gigabytes(available)} are available"
    (findings.problems if largest > available else findings.notes).append(text)


def check_card(plan: Plan, findings: Findings) -> None:
    """The card has to hold the largest model. Where neither a gate nor an experiment runs on it, a machine needs none."""
    needs = [
        (found.run_gpu, model.key)
        for model in [*plan.models, *plan.run]
        if (found := footprint.of(model, plan.providers.of(model))) and found.run_gpu
    ]
    if not needs:
        return
    largest, key = max(needs)
    gates = gates_on_a_card(plan)
    if (card := machine.largest_card()) is None:
        text = f"card: nvidia-smi does not answer; running `{key}` takes about {gigabytes(largest)} of a card"
        if gates or plan.on_a_card():
            named = ", ".join(model.key for model in gates)
            whose = f"the parity gate of {named} needs one" if gates else "the experiment computes on one"
            findings.problems.append(f"{text}, and {whose}; without it {ON_THE_CPU}")
        else:
            findings.notes.append(text)
        return
    text = f"card: running `{key}` takes about {gigabytes(largest)}, {card.name} has {gigabytes(card.bytes)}"
    (findings.problems if largest > card.bytes else findings.notes).append(text)
    if on_it := [*gates, *plan.on_a_card()]:
        in_bf16 = any(Target.of(model, "cuda").precision is BF16 for model in on_it)
        findings.problems += [f"card: {text}; without it {ON_THE_CPU}" for text in too_old(card, in_bf16)]


def too_old(card: machine.Card, in_bf16: bool) -> list[str]:
    """What a build for CUDA 13, or arithmetic in bf16, asks of a card and its driver."""
    found = []
    if card.driver is not None and int(card.driver.split(".")[0]) < CUDA_DRIVER:
        found.append(f"the driver of {card.name} is {card.driver}, CUDA 13 takes {CUDA_DRIVER} or newer")
    needed, what = (BF16_CAPABILITY, "arithmetic in bf16") if in_bf16 else (CUDA_CAPABILITY, "CUDA 13")
    if card.capability is not None and card.capability < needed:
        has, takes = (".".join(map(str, numbers)) for numbers in (card.capability, needed))
        found.append(f"{card.name} has compute capability {has}, {what} takes {takes} or higher")
    return found


def gates_on_a_card(plan: Plan) -> list[Model]:
    """The models whose parity gate runs on it."""
    return [model for model in plan.models if pipeline.gate_needs_card(model, plan.providers.of(model))]


def check_cuda(plan: Plan, findings: Findings) -> None:
    """Whether ONNX Runtime, and torch where it records, compute on the card; asked later where they are installed next."""
    gates = gates_on_a_card(plan)
    on_it = [*gates, *plan.on_a_card()]
    if not on_it or plan.torch_comes:
        return
    try:
        providers.check("cuda")
    except ProviderError as error:
        findings.problems += [f"cuda: {error}"] if gates else []  # poq brings an ONNX Runtime of its own
        return
    from . import cuda_trial

    decoders = [model for model in gates if model.architecture == "decoder" and not recording.lacks(model)]
    by_torch = any(recording.is_to_be_made(model, plan.models_dir, "cuda") for model in decoders)
    found = cuda_trial.problems(any(model.architecture != "decoder" for model in on_it), by_torch)
    findings.problems += [f"cuda: {text}" for text in found]
    if not found:
        findings.notes.append(f"cuda: ONNX Runtime{' and torch compute' if by_torch else ' computes'} on the card")


def check_disks(plan: Plan, to_come: int, findings: Findings) -> None:
    """What each step writes, added up per file system: the cache and the models may share one or not."""
    exported = sum(found.export_disk for model in plan.models if (found := footprint.of(model, plan.providers.of(model))))
    steps = [("to fetch", hub.cache_folder(), to_come), ("to export", plan.models_dir, exported if plan.export else 0)]
    disks: dict[int, list[tuple[str, Path, int]]] = {}
    for step in (step for step in steps if step[2]):
        disks.setdefault(machine.disk_of(step[1]), []).append(step)
    for on_disk in disks.values():
        needed, free = sum(step[2] for step in on_disk), machine.free_on_disk(on_disk[0][1])
        parts = " + ".join(f"{gigabytes(number)} {what} into `{folder}`" for what, folder, number in on_disk)
        text = f"disk: {parts}; {gigabytes(free)} are free"
        (findings.problems if needed > free else findings.notes).append(text)


def check_runtime(plan: Plan, findings: Findings) -> None:
    """ONNX Runtime for the provider: in the registry, and for this system."""
    try:
        package = plan.registry.runtime.of(plan.providers.runtime)
    except RegistryError as error:
        findings.problems.append(str(error))
        return
    if runtime.is_current(package, plan.providers.runtime, plan.models_dir):
        findings.notes.append(f"runtime: {package.package} {package.version} is in place")
    elif not sys.platform.startswith("linux"):
        findings.problems.append(f"runtime: poq takes it from Linux wheels; this system is {sys.platform}")
    else:
        findings.notes.append(f"runtime: {package.package} {package.version} comes with pip")
