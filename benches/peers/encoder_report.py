"""What RESULTS.md and peers.json say about everybody who took part in an encoder row."""

from __future__ import annotations

import inputs
from contest import Contestant, Record, Screening
from peers import PeerContestant
from rows import span, table

AGREEMENT = ["largest difference to torch f32", "Spearman with torch f32"]


def agreement(record: Record, against: Record) -> list[str]:
    """How near scores are to others."""
    return [f"{record.difference_to(against):.1e}", f"{record.spearman_with(against):.5f}"]


def screening(title: str, screening: Screening, default: PeerContestant) -> str:
    """Everybody's one pass on the sample, fastest first, and why some are not in the repeats."""
    ranking = sorted(screening.records.values(), key=Record.median, reverse=True)
    rows = [
        [
            one.contestant.describe(),
            one.contestant.precision,
            f"{one.median():.1f}",
            *agreement(one, screening.records[default]),
        ]
        for one in ranking
    ]
    text = f"## {title}: screening\n\nOne pass of everybody over {len(screening.sample)} pairs, after a warm-up. "
    text += "Into the repeats go our fastest variant and the fastest peer of each precision, "
    text += "and torch f32 at its default batch size.\n\n"
    text += table(["contestant", "precision", "pairs/s", *AGREEMENT], rows)
    refused = "".join(f"\n- {name}: {reason}" for name, reason in screening.refusals.items())
    return text + (f"\n\nOut:\n{refused}" if refused else "")


def repeats(
    title: str, records: dict[Contestant, Record], default: PeerContestant, exact: Record, tokenizer: str
) -> str:
    """The paired repeats on one set of pairs; `exact` are our own f32 scores."""
    pairs = exact.inputs
    rows = []
    for contestant, record in records.items():
        low, high = span(record.rates())
        figures = [f"{record.median():.1f}", f"{low:.1f}..{high:.1f}"]
        rows.append(
            [
                contestant.describe(),
                *figures,
                *agreement(record, records[default]),
                f"{record.spearman_with(exact):.5f}",
            ]
        )
    mean, longest = inputs.token_lengths(pairs, tokenizer)
    text = f"## {title}: {pairs.name} pairs\n\n{len(pairs)} pairs, "
    text += f"{pairs.distinct_share():.0%} of the text slots distinct, "
    text += f"{mean:.0f} tokens per text on average, {longest} at most.\n\n"
    return text + table(["contestant", "pairs/s", "spread", *AGREEMENT, "Spearman with our f32"], rows)


def peers(records: dict[Contestant, Record], screening: Screening, default: PeerContestant) -> list[dict]:
    """Every peer: what it did in the screening, in the repeats if it got there, or why it did not take part."""
    found = []
    for peer, screened in screening.records.items():
        if not isinstance(peer, PeerContestant):
            continue
        row = {"peer_tool": peer.describe(), "precision": peer.precision, "screening": round(screened.median(), 4)}
        if record := records.get(peer):
            row |= {"median": round(record.median(), 4), "spread": span(record.rates())}
            row |= {"score_difference_largest": record.difference_to(records[default])}
        found.append(row)
    return found + [{"tool": tool, "out": reason} for tool, reason in screening.refusals.items()]
