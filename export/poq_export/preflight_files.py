"""Asks the hub for every file that is to come: whether it is there and for us, what it weighs, what the cache has."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

from . import hub
from .hub_errors import Gated, HubError, Offline

QUESTIONS_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file, who wants it, and what the registry says of it."""

    file: hub.HubFile
    by: str
    bytes: int | None = None
    sha256: str | None = None
    gated: bool = False


@dataclasses.dataclass
class Files:
    """What was found of them: problems, and bytes that are still to come."""

    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    to_come: int = 0


def look_up(wanted: list[Wanted]) -> Files:
    """Every file's state. Several files of one repository that fail for one reason are one problem."""
    found = Files()
    missing = [one for one in wanted if hub.cached(one.file) is None]
    found.notes.append(f"hub: {len(wanted)} files, {len(wanted) - len(missing)} of them in the cache `{hub.cache_folder()}`")
    if not missing:
        return found
    if hub.is_offline():
        found.problems.append(f"HF_HUB_OFFLINE is set, and the cache `{hub.cache_folder()}` lacks:{_listed(missing)}")
        return found
    if hub.token() is None and (gated := {one.file.repo for one in missing if one.gated}):
        found.problems.append(
            f"no token of the hub: set HF_TOKEN (https://huggingface.co/settings/tokens); {len(gated)} repositories need it"
        )
    _ask(missing, found)
    return found


def _ask(missing: list[Wanted], found: Files) -> None:
    """One question first: where nobody answers it, the others would only wait as long."""
    first = _answer(missing[0])
    if isinstance(first, Offline):
        found.problems.append(f"the hub {hub.endpoint()} cannot be asked: {first}; its cache lacks:{_listed(missing)}")
        found.to_come = sum(one.bytes or 0 for one in missing)
        return
    with ThreadPoolExecutor(QUESTIONS_AT_ONCE) as pool:
        answers = [first, *pool.map(_answer, missing[1:])]
    told: dict[str, str] = {}
    for one, answer in zip(missing, answers, strict=True):
        if isinstance(answer, HubError):
            told.setdefault(answer.about, f"{one.by}: {answer}")
            found.to_come += one.bytes or 0
            continue
        found.to_come += max(0, answer.bytes - hub.arrived(answer.tag, one.file))
        if one.sha256 and answer.hash.kind == "sha256" and answer.hash.value != one.sha256:
            told[str(one.file)] = (
                f"{one.by}: {one.file} is another file: the hub says sha256 {answer.hash.value}, the registry {one.sha256}"
            )
        elif one.bytes is not None and answer.bytes != one.bytes:
            told[str(one.file)] = f"{one.by}: {one.file} has {answer.bytes} bytes, the registry says {one.bytes}"
    found.problems += told.values()
    if hub.token() and not any(isinstance(answer, Gated) for answer in answers):
        found.notes.append("hub: the token is accepted")


def _answer(one: Wanted) -> hub.Published | HubError:
    try:
        return hub.published(one.file, patient=False)
    except HubError as error:
        return error


def _listed(missing: list[Wanted]) -> str:
    """The files, a line for each repository."""
    by_place: dict[str, list[str]] = {}
    for one in missing:
        by_place.setdefault(f"{one.file.repo}@{one.file.revision}", []).append(one.file.name)
    return "".join(f"\n      {place}: {', '.join(names)}" for place, names in by_place.items())
