"""The rows of the simulation: rounds per second of Algorithm 1 at the paper's size, with what the nodes earned on average,
how much that varies, and its quantiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contest import Contestant, Record, Screening, Unavailable, alternate
from ours_simulate import OursSimulating, prepare, read_network
from peers import PeerContestant, Team
from rounds import MOST_ERRORS, Network, Rounds, largest_error, wrong
from rows import Bench, Measured, entry, span, table
from settings import BY_REWARDS, NUMPY, PYTHON, REPLICATES, SIMULATION_PEERS, Peer
from talk import say

# A fifth of the rounds tells the settings apart.
SCREENING_PART = 5


@dataclass(frozen=True)
class Duel:
    """A row: poq against a tool's fastest setting, or its fastest of one way."""

    name: str
    tool: str
    method: str | None = None

    def admits(self, peer: Peer) -> bool:
        """Whether a peer may be in this row."""
        return peer.module == self.tool and self.method in (None, peer.options.get("method"))


# Algorithm 1 in arrays: every round is drawn, settled and paid, as the paper's script and its vectorised form do.
PROMISED = (Duel("simulate_vs_numpy", NUMPY, BY_REWARDS), Duel("simulate_vs_python", PYTHON))
NAMES = tuple(duel.name for duel in PROMISED)
# Measured beside the first: poq's own idea, to count outcomes, in NumPy. What is left is the engine alone.
COUNTING = Duel("simulate_vs_numpy_counting", NUMPY)


def measure(bench: Bench) -> Measured:
    """All rows that were asked for."""
    duels = [duel for duel in PROMISED if duel.name in bench.only]
    if PROMISED[0] in duels:
        duels.append(COUNTING)
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
    prepared = prepare(bench.engine)
    network = read_network(prepared)
    whole = Rounds("simulation", network, bench.rounds)
    ours = OursSimulating(bench.engine, prepared)
    sample = whole.head(max(1, len(whole) // SCREENING_PART), "simulation-screening")
    screening = Screening(sample, warm_up_part=1)
    screening.add([ours])
    screening.fastest([ours])
    say("Simulation: starting the peers")
    taking_part = [peer for peer in SIMULATION_PEERS if any(duel.admits(peer) for duel in duels)]
    with Team(taking_part, {}, bench.out / "logs/simulation", bench.out / "inputs") as team:
        screening.add(team.contestants)
        for peer in [peer for peer in team.contestants if peer in screening.records]:
            if reason := wrong(network, screening.records[peer].answers()):
                screening.refuse(peer, reason)
        finalists = choose(duels, screening, team.contestants, found)
        kept: list[Contestant] = list(dict.fromkeys([ours, *finalists.values()]))
        team.keep(kept)
        found.sections.append(screening_section(network, screening))
        if not finalists:
            return
        for contestant in kept:
            contestant.warm_up(whole)
        records = alternate(kept, whole, bench.repeats, team.watch)
        for duel, peer in finalists.items():
            peers = tried(duel, team.contestants, records, screening)
            add_row(duel, records[ours], records[peer], peers, found)
        found.sections.append(repeats_section(network, records))
        idle = f"Idle peers used at most {team.idle_share:.1%} of a core while another contestant was on the clock."
        found.sections.append(idle)


def choose(
    duels: Sequence[Duel], screening: Screening, peers: Sequence[PeerContestant], found: Measured
) -> dict[Duel, PeerContestant]:
    """The fastest peer, row by row."""
    chosen = {}
    for duel in duels:
        try:
            chosen[duel] = screening.fastest([one for one in peers if duel.admits(one.peer)])
        except Unavailable as refusal:
            found.problems[duel.name] = str(refusal)
    return chosen


def add_row(duel: Duel, ours: Record, peer: Record, peers: list[dict], found: Measured) -> None:
    """The row, and whether both sides played the same game."""
    network = ours.inputs.network
    problems = {record.contestant.describe(): wrong(network, record.answers()) for record in (ours, peer)}
    if any(problems.values()):
        found.problems[duel.name] = "; ".join(f"{who}: {why}" for who, why in problems.items() if why)
    more = {
        "ours_tool": ours.contestant.describe(),
        "ours_command_seconds": round(ours.command_seconds(), 4),
        "ours_rounds": ours.answers().rounds,
        "peer_rounds": peer.answers().rounds,
        "ours_largest_error": errors(network, ours),
        "peer_largest_error": errors(network, peer),
    }
    found.entries.append(
        entry(duel.name, ours.rates(), peer.rates(), peer.contestant.describe(), ours.inputs.unit, **more, peers=peers)
    )


def errors(network: Network, record: Record) -> float | None:
    """The largest difference of a statistic from its exact value, in standard errors; None where there is no number."""
    found = largest_error(network, record.answers())[1]
    return round(found, 2) if math.isfinite(found) else None


def tried(
    duel: Duel, peers: Sequence[PeerContestant], records: dict[Contestant, Record], screening: Screening
) -> list[dict]:
    """Every setting: what it did in the screening, in the repeats if it got there, or why it is out."""
    found = []
    for peer in (peer for peer in peers if duel.admits(peer.peer)):
        if reason := screening.refusals.get(peer.describe()):
            found.append({"tool": peer.describe(), "out": reason})
            continue
        row = {"peer_tool": peer.describe(), "screening": round(screening.records[peer].median(), 4)}
        if record := records.get(peer):
            row |= {"median": round(record.median(), 4), "spread": span(record.rates())}
        found.append(row)
    return found


def screening_section(network: Network, screening: Screening) -> str:
    """Everybody's one pass, fastest first, and why some are not in the repeats."""
    ranking = sorted(screening.records.values(), key=Record.median, reverse=True)
    rows = [
        [one.contestant.describe(), f"{one.answers().rounds:,}", f"{one.median():.2f}", errors(network, one)]
        for one in ranking
    ]
    text = "## Simulation: screening\n\nOne pass of everybody, after another of the same size. "
    text += "Into the repeats go poq, the fastest NumPy, the fastest NumPy that pays every round, and Python.\n\n"
    text += table(["contestant", "rounds", "M rounds/s", "largest error"], rows)
    refused = "".join(f"\n- {name}: {reason}" for name, reason in screening.refusals.items())
    return text + (f"\n\nOut:\n{refused}" if refused else "")


def repeats_section(network: Network, records: dict[Contestant, Record]) -> str:
    """The paired repeats."""
    rows = []
    for contestant, record in records.items():
        low, high = span(record.rates())
        figures = [f"{record.answers().rounds:,}", f"{record.median():.2f}", f"{low:.2f}..{high:.2f}"]
        rows.append([contestant.describe(), *figures, errors(network, record)])
    records_, nodes, evaluators = network.scores.shape
    text = f"## Simulation\n\n{records_} records, {nodes} inference nodes, {evaluators} evaluators, all of them drawn in "
    text += f"every round; poq in {REPLICATES} replicates. The largest error is that of any node's jobs, mean, variance or "
    text += f"quantile, in standard errors from its exact value; {MOST_ERRORS:.0f} would be one too many.\n\n"
    return text + table(["contestant", "rounds", "M rounds/s", "spread", "largest error"], rows)
