"""`just bench-gpu`: poq on a GPU against transformers, vLLM and sentence-transformers on the same card.

Nothing is fetched. It looks for
  - poq: the binary of --poq; else what `cargo build --release --locked` makes, where there is cargo; else target/release/poq
  - ONNX Runtime with CUDA: models/runtime-cuda; else it is taken out of the wheel of onnxruntime-gpu in --wheels
  - Python packages of the export and the peers: those of this Python and, in front of them, the wheels in --wheels
  - torch and transformers, vLLM, sentence-transformers: in the Python of --python; a tool that is not installed there is
    left out, and the table says so
  - the card: nvidia-smi, first card

The five LLMs and three evaluators of the paper have their published sizes (export/published/) and random weights, made
here: speed does not depend on the weights. Stop tokens are ignored. Results go to OUT/gpu.json and OUT/RESULTS-gpu.md; every
cell is kept in OUT/gpu/cells.jsonl as soon as it is done, and the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import os
import shlex
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
from .finding import Place
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


def main() -> int:
    """Measure cell by cell. Exit code 1 if something that is installed failed, 2 if there is nothing to measure on."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no worker stays behind
    device = "cpu" if arguments.dry_run else "cuda"
    scale = SCALES["tiny" if arguments.dry_run else "full"]
    found_card = card.find() if device == "cuda" else "the CPU (dry run)"
    if device == "cuda" and isinstance(found_card, str):
        say(f"error: {found_card}")
        say("hint: `--dry-run` runs every step on the CPU with tiny models")
        return 2
    known_card = None if isinstance(found_card, str) else found_card
    folder = arguments.out.resolve() / ("gpu-dry-run" if arguments.dry_run else "gpu")
    place = Place(
        device, arguments.poq, arguments.models.resolve(), arguments.python, arguments.wheels, folder / "site"
    )
    sizes = tuple(sorted(arguments.batch_sizes or scale.batch_sizes))
    new_tokens = arguments.new_tokens or scale.new_tokens
    conditions = {"card": known_card.name if known_card else found_card, "scale": scale.name, "new_tokens": new_tokens}
    store = Store(folder / "cells.jsonl", conditions)
    bench = prepare(place, scale, new_tokens, arguments.repeats or scale.repeats, sizes, folder, arguments.cell_timeout)
    facts = machine.facts(known_card, scale, new_tokens, bench.poq)
    facts |= {"command": shlex.join(["just", "bench-gpu", *sys.argv[1:]])}
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
    wheels = attempt(lambda: finding.install_wheels(place))
    made: Made | str = attempt(lambda: Made(folder, place.device, scale.name == "tiny", finding.runtime(place)))
    poq: Poq | str = attempt(lambda: Poq(finding.binary(place), have(made), folder, timeout))
    packages: dict[str, str] | str = attempt(lambda: finding.packages(place))
    for name, found in (("wheels", wheels), ("models", made), ("poq", poq), ("peers", packages)):
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
    begin = time.monotonic()
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
                record = store.add(cell, date=machine.today(), **bench.measure(cell))
                unit, value = next((name, record[name]) for name in ("rate", "busy_share", "gb_per_s") if name in record)
                say(f"{cell.name}: {value:.4g} {record.get('unit', unit)}")
            except Unavailable as refusal:
                store.add(cell, date=machine.today(), missing=str(refusal))
                say(f"{cell.name}: {refusal}")
                expected = any(words in str(refusal) for words in (rivals.NOT_INSTALLED, NO_CARD))
                if not expected and not is_out_of_memory(str(refusal)):
                    problems[cell.name] = str(refusal)
            write()
    finally:
        bench.rivals.stop()
    return problems


def default_python() -> str:
    """Whose packages the peers are."""
    environment = REPOSITORY / ".venv/peers/bin/python"
    return os.environ.get("POQ_BENCH_PYTHON") or (str(environment) if environment.exists() else sys.executable)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="just bench-gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="PATTERN", help="cells by name or a part of it: generate/*/b1/poq, llama_3_2_3b, vllm")
    add("--batch-sizes", nargs="+", type=int, metavar="N", help="instead of 1 8 32 128 256")
    add("--new-tokens", type=int, metavar="N", help="of every answer (default: 128)")
    add("--repeats", type=int, metavar="N", help="timed passes; the median counts (default: 3)")
    add("--minutes", type=float, metavar="N", help="begin no cell after so many; the same command goes on later")
    add("--cell-timeout", type=float, default=480, metavar="S", help="seconds until a tool is given up (default: %(default)s)")
    add("--again", action="store_true", help="measure what is measured already")
    add("--dry-run", action="store_true", help="every step on the CPU, with tiny models; needs no card")
    add("--commit-table", action="store_true", help="write benches/RESULTS-gpu.md instead of the page beside gpu.json")
    add("--poq", type=Path, help="the binary")
    add("--python", default=default_python(), help="with the peers (default: POQ_BENCH_PYTHON, .venv/peers, or this one)")
    add("--wheels", type=Path, metavar="DIR", help="wheels of what is not installed here")
    add("--models", type=Path, default=REPOSITORY / "models", help="where runtime-cuda lies (default: models)")
    add("--out", type=Path, default=REPOSITORY / "results/bench", help="where gpu.json goes (default: results/bench)")
    arguments = parser.parse_args()
    if arguments.commit_table and (arguments.dry_run or arguments.batch_sizes or arguments.new_tokens):
        parser.error("--commit-table is for a whole measurement on a card: neither --dry-run, --batch-sizes nor --new-tokens")
    return arguments
