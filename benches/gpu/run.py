"""Cell after cell: what is due is measured, kept, and written at once."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from process import Unavailable
from settings import REPOSITORY, RESULTS_TABLES
from talk import say as talk

from . import card, finding, machine, report, rivals
from .arguments import folder as arguments_folder
from .finding import Place, Python
from .made import Made
from .measure import NO_CARD, Bench, have
from .ours import Poq
from .plan import SCALES, cells
from .rivals import Rivals
from .store import Store, is_out_of_memory

Found = TypeVar("Found")


def say(text: str) -> None:
    """Progress."""
    talk(text, "bench-gpu")


def main(arguments: argparse.Namespace) -> int:
    """Measure cell by cell. Exit code 1 if something that is installed failed, 2 if there is nothing to measure on."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no worker stays behind
    device = "cpu" if arguments.dry_run else "cuda"
    scale = SCALES["tiny" if arguments.dry_run else "full"]
    found_card = card.find() if device == "cuda" else "the CPU (dry run)"
    if device == "cuda" and isinstance(found_card, str):
        say(f"error: {found_card}")
        say("hint: `--dry-run` runs every step on the CPU with tiny models")
        return 2
    known_card = None if isinstance(found_card, str) else found_card
    place = Place(device, arguments.poq, arguments.models.resolve(), arguments.python, arguments.wheels)
    folder = arguments_folder(arguments)
    sizes = tuple(sorted(arguments.batch_sizes or scale.batch_sizes))
    new_tokens = arguments.new_tokens or scale.new_tokens
    conditions = {"card": known_card.name if known_card else found_card, "scale": scale.name, "new_tokens": new_tokens}
    if arguments.cuda_graphs:
        conditions |= {"cuda_graphs": True}
    store = Store(folder / "cells.jsonl", conditions)
    bench = prepare(place, scale, new_tokens, arguments.repeats or scale.repeats, sizes, folder, arguments.cell_timeout)
    if isinstance(bench.poq, Poq):
        bench.poq.cuda_graphs = arguments.cuda_graphs
    facts = machine.facts(known_card, scale, new_tokens, bench.poq)
    facts |= {"command": f"just bench-gpu{' --dry-run' if arguments.dry_run else ''}"}
    out = folder if arguments.dry_run else arguments.out.resolve()
    page = (RESULTS_TABLES if arguments.commit_table else out) / "RESULTS-gpu.md"
    problems = sweep(bench, store, arguments, lambda: report.write(store, sizes, known_card, facts, out, page))
    for name, problem in problems.items():
        say(f"error: `{name}`: {problem}")
    say(f"wrote {out / 'gpu.json'} and {page}")
    return 1 if problems else 0


def prepare(
    place: Place, scale: Any, new_tokens: int, repeats: int, sizes: tuple[int, ...], folder: Path, timeout: float
) -> Bench:
    """Find everything once; what is missing is a reason from here on."""
    made: Made | str = attempt(lambda: Made(folder, place.device, scale.name == "tiny", finding.runtime(place)))
    python: Python | str = attempt(lambda: finding.probe(place))
    libraries = [] if isinstance(python, str) else python.libraries
    poq: Poq | str = attempt(lambda: Poq(finding.binary(place), have(made), folder, timeout, libraries))
    packages = python if isinstance(python, str) else python.packages
    for name, found in (("models", made), ("poq", poq), ("peers", packages)):
        if isinstance(found, str):
            say(f"{name}: {found}")
    if isinstance(packages, dict):
        say(f"peers: {', '.join(f'{name} {version}' for name, version in packages.items()) or 'none is installed'}")
    peers = Rivals(place.python, packages, place.device, folder, timeout)
    return Bench(scale, new_tokens, repeats, sizes, folder, made, poq, peers)


def attempt(find: Callable[[], Found]) -> Found | str:
    """What is found, or the reason why it is not."""
    try:
        return find()
    except Unavailable as refusal:
        return str(refusal)


def sweep(bench: Bench, store: Store, arguments: argparse.Namespace, write: Callable[[], None]) -> dict[str, str]:
    """Every cell that was asked for and is not done; returns what failed although it is there."""
    problems: dict[str, str] = {}
    begin, when = time.monotonic(), {"date": machine.today(), "commit": machine.commit()}
    asked = list(cells(bench.batch_sizes, arguments.only))
    due = [cell for cell in asked if arguments.again or not store.is_done(cell)]
    say(f"{len(asked)} cells, {len(due)} to measure")
    write()
    try:
        for number, cell in enumerate(due):
            if arguments.minutes and time.monotonic() - begin > 60 * arguments.minutes:
                say(f"{arguments.minutes:g} minutes are over; {len(due) - number} cells are left for the next command")
                break
            say(f"{cell.name} …")
            try:
                record = store.add(cell, **when, **bench.measure(cell))
                unit, value = next((name, record[name]) for name in ("rate", "busy_share", "gb_per_s") if name in record)
                say(f"{cell.name}: {value:.4g} {record.get('unit', unit)}")
            except Unavailable as refusal:
                reason = " ".join(str(refusal).replace(f"{REPOSITORY}/", "").split())
                store.add(cell, **when, missing=reason)
                say(f"{cell.name}: {reason}")
                expected = any(words in reason for words in (rivals.NOT_INSTALLED, NO_CARD))
                if not expected and not is_out_of_memory(reason):
                    problems[cell.name] = reason
            write()
    finally:
        bench.rivals.stop()
    return problems
