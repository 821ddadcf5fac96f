"""From cells to rows: poq beside each peer at one batch size, and the targets beside what was reached, all shaped alike.

A row has the fields of an entry of peers.json. In a target's row `ours` is what was reached, `peer` what is wanted, and a
`ratio` of 1 or more means that it is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rows import entry

from . import plan
from .card import Card
from .plan import BUSY, COPY, GENERATE, PEERS, PIPELINE, POQ, SCORE, SENTENCE_TRANSFORMERS, VLLM, Subject
from .store import Store

Row = dict[str, Any]


def measured(record: Row | None) -> Row | None:
    """The record, where it holds figures."""
    return record if record and "missing" not in record else None


def why(record: Row | None) -> str:
    """The reason why a record holds none."""
    return record["missing"] if record else "not measured yet"


def comparisons(store: Store, batch_sizes: tuple[int, ...]) -> Iterator[Row]:
    """A row for every model, batch size and peer of which at least one side was tried."""
    for subject in plan.SUBJECTS.values():
        for size in batch_sizes:
            ours = store.find(subject.stage, subject.key, size, POQ)
            for tool in PEERS[subject.stage]:
                peer = store.find(subject.stage, subject.key, size, tool)
                if ours or peer:
                    yield comparison(subject, size, tool, ours, peer)


def comparison(subject: Subject, size: int, tool: str, ours: Row | None, peer: Row | None) -> Row:
    """One row; null and a reason where a side has no figure."""
    name = f"{subject.stage}_{subject.key}_b{size}_vs_{tool}"
    more: Row = {"model": subject.key, "batch_size": size, "weights": "random"}
    left, right = measured(ours), measured(peer)
    for side, record in (("ours", left), ("peer", right)):
        for field in ("latency_ms_p50", "prompts", "precision"):
            if record and field in record:
                more[f"{side}_{field}"] = record[field]
    if left and right:
        more |= {"ours_tool": left["tool_version"]}
        row = entry(name, left["rates"], right["rates"], f"{right['tool_version']}, batch {size}", left["unit"], **more)
        return row | {"repeats": min(left["repeats"], right["repeats"])}
    known = left or right or {}
    row = {"name": name, "ours": left and round(left["rate"], 4), "peer": right and round(right["rate"], 4)}
    row |= {"peer_tool": right["tool_version"] if right else tool, "unit": known.get("unit"), "ratio": None} | more
    reasons = {side: why(record) for side, found, record in (("ours", left, ours), ("peer", right, peer)) if not found}
    return row | {"missing": reasons}


def bandwidth(store: Store, card: Card | None) -> tuple[float, str] | None:
    """GB/s that shares are of: the card's nominal value, or else what a copy reached."""
    if card and card.nominal_gb_per_s:
        return float(card.nominal_gb_per_s), f"nominal {card.nominal_gb_per_s} GB/s"
    copied = measured(store.find(COPY, "card", 0, "torch"))
    return (copied["gb_per_s"], f"{copied['gb_per_s']:.0f} GB/s of a copy by torch") if copied else None


def decoding(store: Store, subject: Subject, card: Card | None) -> tuple[float, float, str] | None:
    """GB/s that poq reads while it decodes one row, its share of the card's bandwidth, and what it is a share of."""
    record, most = measured(store.find(GENERATE, subject.key, 1, POQ)), bandwidth(store, card)
    if not record or not most or not record.get("decode_tokens_per_s"):
        return None
    read = record["bytes_per_token"] * record["decode_tokens_per_s"] / 1e9
    return read, read / most[0], most[1]


def targets(store: Store, batch_sizes: tuple[int, ...], card: Card | None) -> Iterator[Row]:
    """What is aimed at on one H200, and how far it is reached here."""
    llm, largest = plan.SUBJECTS[plan.TARGET_LLM], max(batch_sizes)

    def rate(stage: str, model: str, size: int, tool: str, field: str = "rate") -> float | None:
        record = measured(store.find(stage, model, size, tool))
        return record.get(field) if record else None

    def quotient(above: float | None, below: float | None) -> float | None:
        return above / below if above and below else None

    latencies = [rate(GENERATE, llm.key, 1, tool, "latency_ms_p50") for tool in (POQ, PIPELINE)]
    yield target("latency_of_pipeline", quotient(*latencies), plan.LATENCY_SHARE, f"{llm.key}, batch 1", most=True)
    found = decoding(store, llm, card)
    against = f"{llm.key}, batch 1, of {found[2]}" if found else f"{llm.key}, batch 1"
    yield target("decode_bandwidth_share", found and found[1], plan.BANDWIDTH_SHARE, against)
    ours = rate(GENERATE, llm.key, largest, POQ)
    alone = rate(GENERATE, llm.key, 1, PIPELINE)
    what = f"{llm.key}, batch {largest}"
    yield target("tokens_vs_pipeline", quotient(ours, alone), plan.PIPELINE_RATIO, f"{what} against the pipeline's batch 1")
    yield target("tokens_vs_vllm", quotient(ours, rate(GENERATE, llm.key, largest, VLLM)), plan.VLLM_RATIO, what)
    for key in ("ce_minilm", "sts_stsb"):
        sides = [[rate(SCORE, key, size, tool) or 0.0 for size in batch_sizes] for tool in (POQ, SENTENCE_TRANSFORMERS)]
        best = quotient(*(max(side) for side in sides))
        yield target(f"pairs_vs_sentence_transformers_{key}", best, plan.ENCODER_RATIO, "each at its fastest batch size")
    for subject in plan.SUBJECTS.values():
        if store.find(BUSY, subject.key, largest, POQ):
            share = rate(BUSY, subject.key, largest, POQ, "busy_share")
            yield target(f"busy_{subject.stage}_{subject.key}", share, plan.BUSY_SHARE, "of the time that poq infers")


def target(name: str, value: float | None, wanted: float, of: str, most: bool = False) -> Row:
    """A target as a row; with `most` less is better."""
    ratio = None if not value else round(wanted / value if most else value / wanted, 4)
    row: Row = {"name": f"target_{name}", "ours": value and round(value, 4), "peer": wanted, "peer_tool": "the target"}
    row |= {"unit": "at most" if most else "at least", "ratio": ratio, "of": of}
    return row if value else row | {"missing": {"ours": "its cells have no figures yet"}}
