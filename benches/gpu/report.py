"""`gpu.json` for programs and RESULTS-gpu.md for people, written anew after every cell."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rows import table

from . import rates
from .card import Card
from .plan import BUSY, COPY, GENERATE, PEERS, PIPELINE, POQ, SUBJECTS, VLLM, WEIGHTS, Subject, cells
from .rates import measured, why
from .store import Store, is_out_of_memory

HEAD = """# poq and the Python tools on {card}

Written by `{command}`. {weights}

Every figure is a median of repeated passes after a warm-up; each tool has the card to itself. A ratio above 1 means that poq
is ahead. How the comparison is kept fair is said in benches/gpu/README.md.
"""
NAMES = {PIPELINE: "transformers' pipeline", VLLM: "vLLM"}


def write(
    store: Store, batch_sizes: tuple[int, ...], card: Card | None, facts: dict[str, str], out: Path, page: Path
) -> None:
    """Both files; each replaces the one before in one step."""
    rows = [*rates.comparisons(store, batch_sizes), *rates.targets(store, batch_sizes, card)]
    noted = {"card": facts["card"], "poq": facts["poq"], "date": facts["date"]}
    text = json.dumps([row | noted for row in rows], indent=1, ensure_ascii=False, allow_nan=False)
    replace(out / "gpu.json", text + "\n")
    replace(page, "\n\n".join(part.strip() for part in sections(store, batch_sizes, card, facts)) + "\n")


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def sections(store: Store, batch_sizes: tuple[int, ...], card: Card | None, facts: dict[str, str]) -> list[str]:
    """The page."""
    head = HEAD.format(weights=WEIGHTS, **facts)
    if facts["scale"] == "tiny":
        head += "\n**A dry run on the CPU with tiny models: its figures say nothing, except that every step works.**"
    machine = [f"- {name}: {value}" for name, value in facts.items() if name != "command"]
    commits = {f"{record['commit']} ({record['date']})" for record in store.records.values() if "commit" in record}
    if commits:
        machine.append(f"- cells measured at: {', '.join(sorted(commits))}")
    parts = [head, "## Machine\n\n" + "\n".join(machine)]
    parts += ["## Targets on one H200\n\n" + target_table(store, batch_sizes, card, judged=facts["scale"] == "full")]
    for subject in SUBJECTS.values():
        if text := model_table(store, batch_sizes, subject, card):
            parts.append(text)
    if busy := busy_table(store, batch_sizes):
        parts.append(busy)
    missing = [f"- `{name}`: {record['missing']}" for name, record in sorted(store.records.items()) if "missing" in record]
    untried = [cell.name for cell in cells(batch_sizes) if cell.name not in store.records]
    if untried:
        missing.append(f"- {len(untried)} cells were not tried yet, `{untried[0]}` the first of them")
    if missing:
        parts.append("## Not measured\n\n" + "\n".join(missing))
    return parts


def target_table(store: Store, batch_sizes: tuple[int, ...], card: Card | None, judged: bool) -> str:
    """What is wanted, what was reached."""
    lines = []
    for row in rates.targets(store, batch_sizes, card):
        met = "not measured" if row["ratio"] is None else "yes" if row["ratio"] >= 1 else "no"
        met = met if judged else "a dry run does not tell"
        reached = "–" if row["ours"] is None else f"{row['ours']:.2f}"
        lines.append([f"`{row['name'].removeprefix('target_')}`", row["of"], f"{row['unit']} {row['peer']}", reached, met])
    return table(["target", "of", "wanted", "reached", "met"], lines)


def model_table(store: Store, batch_sizes: tuple[int, ...], subject: Subject, card: Card | None) -> str | None:
    """A model at every batch size; None where nothing of it was tried."""
    tools = (POQ, *PEERS[subject.stage])
    found = {(size, tool): store.find(subject.stage, subject.key, size, tool) for size in batch_sizes for tool in tools}
    if not any(found.values()):
        return None
    unit = "new tokens/s" if subject.stage == GENERATE else "pairs/s"
    lines = []
    for size in batch_sizes:
        ours = measured(found[size, POQ])
        line = [size, rate(found[size, POQ])]
        for tool in PEERS[subject.stage]:
            peer = measured(found[size, tool])
            line += [rate(found[size, tool]), f"{ours['rate'] / peer['rate']:.2f}" if ours and peer else "–"]
        if subject.stage == GENERATE:
            line += [figure(ours, "first_token_ms_p50"), figure(ours, "latency_ms_p50"), figure(ours, "decoded_together", 0)]
        lines.append(line)
    columns = ["batch", f"poq, {unit}"]
    for tool in PEERS[subject.stage]:
        columns += [NAMES.get(tool, tool.replace("_", "-")), "ratio"]
    if subject.stage == GENERATE:
        columns += ["first token, ms", "latency, ms", "decoded together"]
    precision = next(
        (record["precision"] for record in found.values() if record and "precision" in record), subject.precision
    )
    text = f"## `{subject.key}`, {precision}\n\n" + table(columns, lines)
    if subject.stage == GENERATE and (read := rates.decoding(store, subject, card)):
        text += f"\n\n{prompt_lengths(found)}Decoding one row reads {read[0]:.0f} GB/s, {read[1]:.0%} of {read[2]}."
    return text


def prompt_lengths(found: dict[tuple[int, str], dict[str, Any] | None]) -> str:
    """Tokens of the prompts, where poq has told."""
    told = [record for record in found.values() if record and "prompt_tokens" in record]
    count = sum(record["prompts"] for record in told)
    return f"Prompts have {sum(record['prompt_tokens'] for record in told) / count:.0f} tokens on average. " if count else ""


def rate(record: dict[str, Any] | None) -> str:
    """A rate, or that there is none."""
    if record is None:
        return "–"
    if "missing" in record:
        return "out of memory" if is_out_of_memory(why(record)) else "–"
    return f"{record['rate']:.1f}"


def figure(record: dict[str, Any] | None, name: str, digits: int = 1) -> str:
    """A figure of a record, if it has it."""
    value = record.get(name) if record else None
    return "–" if value is None else f"{value:.{digits}f}"


def busy_table(store: Store, batch_sizes: tuple[int, ...]) -> str | None:
    """How busy the card was while poq worked."""
    lines = []
    for subject in SUBJECTS.values():
        if record := measured(store.find(BUSY, subject.key, max(batch_sizes), POQ)):
            shares = [f"{record['busy_share']:.0%}", f"{record['command_busy_share']:.0%}"]
            memory = figure(record, "peak_device_memory_mb", 0)
            lines.append([f"`poq {subject.stage}`", f"`{subject.key}`", *shares, f"{record['command_seconds']:.1f}", memory])
    copied = measured(store.find(COPY, "card", 0, "torch"))
    text = f"A copy by torch moves {copied['gb_per_s']:.0f} GB/s, read and written.\n\n" if copied else ""
    if not lines:
        return f"## The card\n\n{text}" if copied else None
    columns = [
        "command",
        "model",
        "busy while inferring",
        "busy during the command",
        "command, s",
        "most device memory, MiB",
    ]
    return f"## The card\n\n{text}Sampled by nvidia-smi ten times a second.\n\n" + table(columns, lines)
