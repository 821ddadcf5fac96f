"""The rows of the evaluators: pairs per second of a bi-encoder or a cross-encoder, on scores that agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import encoder_report as report
import inputs
from contest import Contestant, Record, Screening, Unavailable, alternate
from inputs import Pairs
from ours import Ours
from peers import PeerContestant, Team
from rows import Bench, Measured, entry
from settings import (
    BI_ENCODER,
    BI_ENCODER_PEERS,
    CROSS_ENCODER,
    CROSS_ENCODER_PEERS,
    DEFAULT_PEER,
    F32_TOLERANCE,
    OURS,
    OURS_REFERENCE,
    REDUCED_SPEARMAN,
    SENTENCE_TRANSFORMERS,
    Peer,
)
from talk import say
from weights import worker_options

# A third of the pairs tells the settings apart, and leaves the time to the repeats.
SCREENING_PART = 3


@dataclass(frozen=True)
class Group:
    """Rows that share a model."""

    title: str
    key: str
    peers: Sequence[Peer]
    # (precision, name of the inputs) → name of the row
    names: dict[tuple[str, str], str]


BI_ENCODERS = Group(
    "Bi-encoder",
    BI_ENCODER,
    BI_ENCODER_PEERS,
    {
        ("f32", "distinct"): "bi_encoder_f32_distinct",
        ("f32", "repeated"): "bi_encoder_f32_repeated",
        ("reduced", "distinct"): "bi_encoder_reduced_distinct",
        ("reduced", "repeated"): "bi_encoder_reduced_repeated",
    },
)
CROSS_ENCODERS = Group("Cross-encoder", CROSS_ENCODER, CROSS_ENCODER_PEERS, {("f32", "distinct"): "cross_encoder_f32"})


@dataclass(frozen=True)
class Finalists:
    """Who runs in all repeats, of one precision, and the peer that runs in any case."""

    ours: Ours
    peer: PeerContestant
    default: PeerContestant
    # The fastest backend of sentence-transformers: what its users could switch to with one option.
    library: PeerContestant


def measure(group: Group, bench: Bench) -> Measured:
    """All rows of a group that were asked for."""
    wanted = {place: name for place, name in group.names.items() if name in bench.only}
    found = Measured()
    if not wanted:
        return found
    try:
        race(group, wanted, bench, found)
    except Unavailable as refusal:
        done = {one["name"] for one in found.entries}
        for name in wanted.values():
            if name not in done:
                found.problems.setdefault(name, str(refusal))
    return found


def race(group: Group, wanted: dict[tuple[str, str], str], bench: Bench, found: Measured) -> None:
    """Screening, then the repeats on every set of pairs. Raises Unavailable when there is nothing to compare."""
    made = [inputs.distinct(bench.pairs), inputs.repeated(bench.pairs)]
    sets = [pairs for pairs in made if any(pairs.name == name for _, name in wanted)]
    options = worker_options(group.key, bench.models, bench.out / "weights")
    screening = Screening(sets[0].head(max(1, len(sets[0]) // SCREENING_PART), "screening"))
    ours = {variant: Ours(bench.engine, group.key, variant) for variant in OURS}
    chosen = choose_ours(wanted, screening, list(ours.values()), ours[OURS_REFERENCE], found)
    say(f"{group.title}: loading the peers")
    taking_part = [peer for peer in group.peers if peer.precision in chosen or peer is DEFAULT_PEER[0]]
    with Team(taking_part, options, bench.out / "logs" / group.key, bench.out / "inputs") as team:
        screening.add(team.contestants)
        default = team.find(*DEFAULT_PEER)
        screening.fastest([default])
        finalists = {}
        for precision, one in chosen.items():
            peers = [peer for peer in team.contestants if peer.precision == precision]
            backends = [peer for peer in peers if peer.peer.module == SENTENCE_TRANSFORMERS]
            finalists[precision] = Finalists(one, screening.fastest(peers), default, screening.fastest(backends))
        kept = list(dict.fromkeys(one for few in finalists.values() for one in (few.ours, few.peer, default, few.library)))
        team.keep(kept)
        found.sections.append(report.screening(group.title, screening, default))
        for pairs in sets:
            records = alternate(kept, pairs, bench.repeats, team.watch)
            exact = f32_scores(records, ours[OURS_REFERENCE], pairs)
            for precision, few in finalists.items():
                if name := wanted.get((precision, pairs.name)):
                    against = records[default] if precision == "f32" else exact
                    add_row(name, precision, few, records, against, screening, found)
            found.sections.append(report.repeats(group.title, records, default, exact, options["tokenizer"]))
        idle = f"Idle peers used at most {team.idle_share:.1%} of a core while another contestant was on the clock."
        found.sections.append(idle)


def choose_ours(
    wanted: dict[tuple[str, str], str], screening: Screening, ours: Sequence[Ours], reference: Ours, found: Measured
) -> dict[str, Ours]:
    """Our fastest variant by precision; it may be reduced only as far as the order of the scores stays."""
    precisions = {precision for precision, _ in wanted}
    screening.add([one for one in ours if one.precision in precisions or one is reference])
    exact = screening.records.get(reference)
    for one in [one for one in screening.records if one.precision == "reduced"]:
        spearman = screening.records[one].spearman_with(exact) if exact else float("nan")
        if not spearman >= REDUCED_SPEARMAN:
            screening.refuse(one, f"Spearman {spearman:.4f} with our f32 scores, {REDUCED_SPEARMAN} is needed")
    chosen: dict[str, Ours] = {}
    for (precision, _), name in wanted.items():
        try:
            chosen[precision] = screening.fastest([one for one in ours if one.precision == precision])
        except Unavailable as refusal:
            found.problems[name] = str(refusal)
    if not chosen:
        raise Unavailable("poq took part with no variant")
    return chosen


def f32_scores(records: dict[Contestant, Record], reference: Ours, pairs: Pairs) -> Record:
    """Our f32 scores on the CPU provider: from the repeats, or from one more pass that no figure is taken from."""
    return records.get(reference) or Record(reference, pairs, [reference.timed_pass(pairs)])


def add_row(
    name: str,
    precision: str,
    few: Finalists,
    records: dict[Contestant, Record],
    against: Record,
    screening: Screening,
    found: Measured,
) -> None:
    """The promised row and, where two peers are of interest, the other one under a name of its own."""
    ours = records[few.ours]
    more = {
        "ours_tool": few.ours.describe(),
        "ours_command_seconds": round(ours.command_seconds(), 4),
        "pairs": len(ours.inputs),
        "scores_compared_with": against.contestant.describe(),
        "score_difference_largest": ours.difference_to(against),
        "spearman": ours.spearman_with(against),
    }
    if precision == "f32" and not more["score_difference_largest"] <= F32_TOLERANCE:
        found.problems[name] = (
            f"scores differ by {more['score_difference_largest']:.1e}, {F32_TOLERANCE:.0e} is allowed"
        )
    if precision == "reduced" and not more["spearman"] >= REDUCED_SPEARMAN:
        found.problems[name] = f"Spearman {more['spearman']:.4f} with our f32 scores, {REDUCED_SPEARMAN} is needed"

    def row(name: str, peer: PeerContestant, **extra: object) -> dict:
        return entry(name, ours.rates(), records[peer].rates(), peer.describe(), "pairs/s", **more, **extra)

    peer, other, suffix = (
        (few.peer, few.default, "vs_torch") if precision == "f32" else (few.default, few.peer, "vs_reduced")
    )
    found.entries.append(row(name, peer, peers=report.peers(records, screening, few.default)))
    if other is not peer:
        found.entries.append(row(f"{name}_{suffix}", other))
    if few.library not in (peer, other):
        found.entries.append(row(f"{name}_vs_sentence_transformers", few.library))
