"""The rows of the language model: new tokens per second from prompts to texts, every answer equally long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import decoder_weights
import generate_report as report
import prompts
from contest import Contestant, Record, Screening, Unavailable, alternate
from decoder_weights import registered
from ours_generate import DecoderVariant, OursGenerating
from peers import PeerContestant, Team
from rows import Bench, Measured, entry
from settings import (
    DECODER,
    GENAI,
    GENERATION_PEERS,
    LLAMA_CPP,
    LLAMA_CPP_BATCH,
    OPENVINO_GENAI,
    OUR_BATCH_SIZES,
    OUR_DECODERS,
    QUESTIONS_PER_PASSAGE,
    SAME_TEXTS,
    TRANSFORMERS,
    Peer,
)
from talk import say

# Half of the prompts is enough to tell batches of 64 rows from smaller ones.
SCREENING_PART = 2


@dataclass(frozen=True)
class Duel:
    """A row: our fastest variant of some precisions against a tool's fastest of some; None admits all."""

    name: str
    tool: str
    precision: str | None = None
    # Of the tool, where it calls the same thing otherwise or has only one.
    tool_precision: str | None = None
    same_texts: bool = False

    def admits(self, ours: OursGenerating) -> bool:
        """Whether a variant of ours may be in this row."""
        return self.precision in (None, ours.precision)

    def admits_peer(self, peer: Peer) -> bool:
        """Whether a peer may be in this row."""
        return peer.module == self.tool and self.tool_precision in (None, peer.precision)


DUELS = (
    Duel("generate_vs_transformers", TRANSFORMERS),
    Duel("generate_f32_vs_transformers_f32", TRANSFORMERS, "f32", "f32", same_texts=True),
    Duel("generate_vs_llama_cpp", LLAMA_CPP, "int4"),
    Duel("generate_vs_llama_cpp_batched", LLAMA_CPP_BATCH, "int4"),
    Duel("generate_vs_onnxruntime_genai", GENAI, "f32", "f32", same_texts=True),
    Duel("generate_int4_vs_onnxruntime_genai", GENAI, "int4", "int4"),
    Duel("generate_vs_openvino_genai", OPENVINO_GENAI),
    Duel("generate_f32_vs_openvino_genai", OPENVINO_GENAI, "f32", "f32"),
)
NAMES = tuple(duel.name for duel in DUELS)


def measure(bench: Bench) -> Measured:
    """All rows that were asked for."""
    duels = [duel for duel in DUELS if duel.name in bench.only]
    found = Measured()
    try:
        race(duels, bench, found)
    except Unavailable as refusal:
        done = {one["name"] for one in found.entries}
        for duel in duels:
            if duel.name not in done:
                found.problems.setdefault(duel.name, str(refusal))
    return found


def race(duels: Sequence[Duel], bench: Bench, found: Measured) -> None:
    """Screening, then the repeats. Raises Unavailable when there is nothing to compare."""
    taking_part = wanted_peers(duels)
    options = worker_options(bench, taking_part)
    whole = prompts.make(bench.prompts, bench.new_tokens, bench.models / DECODER)
    sample = whole.head(max(min(len(whole), QUESTIONS_PER_PASSAGE), len(whole) // SCREENING_PART), "prompts-screening")
    screening = Screening(sample)
    screening.add([one for one in ours(bench) if any(duel.admits(one) for duel in duels)])
    if not screening.records:
        raise Unavailable("; ".join(dict.fromkeys(screening.refusals.values())) or "poq took part with no variant")
    say("Generation: loading the peers")
    with Team(taking_part, options, bench.out / "logs/generation", bench.out / "inputs") as team:
        screening.add(team.contestants)
        finalists = choose(duels, screening, team.contestants, found)
        kept = list(dict.fromkeys(one for pair in finalists.values() for one in pair))
        team.keep(kept)
        records = alternate(kept, whole, bench.repeats, team.watch) if kept else {}
        exact = exact_texts(records, screening)
        for duel, (own, peer) in finalists.items():
            settings = report.peers(duel.tool, team.contestants, records, screening, exact)
            add_row(duel, records[own], records[peer], exact, settings, found)
        found.sections.append(report.screening(screening, exact))
        if records:
            found.sections.append(report.repeats(whole, records, exact, options["tokenizer"]))
            idle = f"Idle peers used at most {team.idle_share:.1%} of a core while another contestant was on the clock."
            found.sections.append(idle)


def worker_options(bench: Bench, peers: Sequence[Peer]) -> dict:
    """What every worker is told. Raises Unavailable when the weights cannot be had."""
    options = decoder_weights.worker_options(DECODER, bench.models)
    original = Path(options["gguf"])
    if any(peer.module == OPENVINO_GENAI for peer in peers):
        options["gguf_f16"] = str(decoder_weights.f16_copy(original, bench.out / "weights/f16.gguf"))
    folders = {}
    for key in {peer.options["model"] for peer in peers if peer.module == GENAI}:
        try:
            folders[key] = str(decoder_weights.genai_folder(key, bench.models, original, bench.out / "weights/genai"))
        except Unavailable as refusal:
            say(f"no graph for onnxruntime-genai: {refusal}")
    return options | {"genai_folders": folders}


def ours(bench: Bench) -> list[OursGenerating]:
    """Every variant of the registry at every batch size."""
    found = []
    for model, precision in OUR_DECODERS.items():
        try:
            registered(model, bench.models)
        except Unavailable as refusal:
            say(f"skipped: {refusal}")
            continue
        found += [OursGenerating(bench.engine, DecoderVariant(model, precision, size)) for size in OUR_BATCH_SIZES]
    return found


def wanted_peers(duels: Sequence[Duel]) -> list[Peer]:
    """Those that a row may be about."""
    return [peer for peer in GENERATION_PEERS if any(duel.admits_peer(peer) for duel in duels)]


def choose(
    duels: Sequence[Duel], screening: Screening, peers: Sequence[PeerContestant], found: Measured
) -> dict[Duel, tuple[OursGenerating, PeerContestant]]:
    """The fastest of both sides, row by row."""
    own = [one for one in screening.records if isinstance(one, OursGenerating)]
    chosen = {}
    for duel in duels:
        if not (candidates := [one for one in own if duel.admits(one)]):
            found.problems[duel.name] = f"poq took part with no variant in {duel.precision}"
            continue
        try:
            peer = screening.fastest([one for one in peers if duel.admits_peer(one.peer)])
        except Unavailable as refusal:
            found.problems[duel.name] = str(refusal)
            continue
        chosen[duel] = (screening.fastest(candidates), peer)
    return chosen


def exact_texts(records: dict[Contestant, Record], screening: Screening) -> dict[str, str]:
    """transformers' f32 answers by prompt: from the repeats as far as they go, else from the screening."""
    texts: dict[str, str] = {}
    for record in (*screening.records.values(), *records.values()):
        peer = getattr(record.contestant, "peer", None)
        if peer and (peer.module, peer.precision) == (TRANSFORMERS, "f32"):
            texts |= report.texts(record)
    return texts


def add_row(
    duel: Duel, own: Record, peer: Record, exact: dict[str, str], peers: list[dict], found: Measured
) -> None:
    """The row, and whether both sides did the same work."""
    same = report.same_share(report.texts(own), report.texts(peer))
    more = {
        "ours_tool": own.contestant.describe(),
        "ours_command_seconds": round(own.command_seconds(), 4),
        "prompts": len(own.inputs),
        "new_tokens": own.inputs.new_tokens,
        "same_texts_as_peer": same,
        "same_texts_as_transformers_f32": report.same_share(report.texts(own), exact),
    }
    problems = [wrong for record in (own, peer) if (wrong := wrong_lengths(record))]
    if duel.same_texts and not same >= SAME_TEXTS:
        problems.append(f"{same:.1%} of the answers are the same text, {SAME_TEXTS:.0%} is needed")
    if problems:
        found.problems[duel.name] = "; ".join(problems)
    row = entry(duel.name, own.rates(), peer.rates(), peer.contestant.describe(), own.inputs.unit, **more, peers=peers)
    found.entries.append(row)


def wrong_lengths(record: Record) -> str:
    """How many answers are not as long as they have to be, counted in tokens; nothing where all are."""
    wanted = record.inputs.new_tokens
    wrong = sum(answer.tokens != wanted for answer in record.answers())
    if not wrong:
        return ""
    return f"{record.contestant.describe()}: {wrong} of {len(record.inputs)} answers do not have {wanted} tokens"
