"""`just bench-peers`: measure poq against Python tools, on the same weights and the same inputs.

    python benches/peers/run.py [--only NAME …] [--repeats N] [--pairs N] [--rows N]
                                [--prompts N] [--new-tokens N] [--rounds N] [--out DIR]

Writes DIR/peers.json, and a table for people: DIR/RESULTS.md for scores and tables, DIR/RESULTS-simulation.md for
the simulation, DIR/RESULTS-generation.md for generation. A table of which every row was measured at full size goes to
benches/ instead.
Exit code 1 if a row could not be measured, or if scores or rewards that must agree do not.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from pathlib import Path

import results
from encoders import BI_ENCODERS, CROSS_ENCODERS
from encoders import measure as measure_encoders
from generate import NAMES as GENERATE_NAMES
from generate import measure as measure_generation
from ours import Engine
from rows import Bench, Measured
from settings import REPOSITORY, RESULTS_TABLES
from simulate import NAMES as SIMULATION_NAMES
from simulate import measure as measure_simulation
from tables import NAMES as TABLE_NAMES
from tables import measure as measure_tables
from talk import say

SCORING_NAMES = (*BI_ENCODERS.names.values(), *CROSS_ENCODERS.names.values(), *TABLE_NAMES)
NAMES = (*SCORING_NAMES, *SIMULATION_NAMES, *GENERATE_NAMES)
REPEATS = 5
FULL_SIZE = PAIRS, ROWS, PROMPTS, NEW_TOKENS, ROUNDS = 700, 1_000_000, 160, 49, 1_000_000_000


def main() -> int:
    """Measure group by group; what one group has measured is written before the next begins."""
    arguments = parse_arguments()
    out = arguments.out.resolve()
    shutil.rmtree(out / "runs", ignore_errors=True)
    facts = results.machine()
    models = arguments.models.resolve()
    engine = Engine(arguments.poq.resolve(), models, out / "runs")
    only = frozenset(arguments.only)
    size = (arguments.pairs, arguments.rows, arguments.prompts, arguments.new_tokens, arguments.rounds)
    bench = Bench(engine, models, out, only, arguments.repeats, *size)
    facts |= {"poq": f"{engine.version}, {results.commit()}", "repeats": str(bench.repeats)}
    command = shlex.join(["just", "bench-peers", *sys.argv[1:]])
    entries: list[dict] = []
    problems: dict[str, str] = {}
    for file, names, measures in (
        (
            "RESULTS.md",
            SCORING_NAMES,
            (
                lambda: measure_encoders(BI_ENCODERS, bench),
                lambda: measure_encoders(CROSS_ENCODERS, bench),
                lambda: measure_tables(bench),
            ),
        ),
        ("RESULTS-simulation.md", SIMULATION_NAMES, (lambda: measure_simulation(bench),)),
        ("RESULTS-generation.md", GENERATE_NAMES, (lambda: measure_generation(bench),)),
    ):
        if bench.only.isdisjoint(names):
            continue
        complete = bench.only.issuperset(names) and size == FULL_SIZE and bench.repeats >= REPEATS
        target = (RESULTS_TABLES if complete else out) / file
        total = Measured()
        for measure in measures:
            found = measure()
            total.entries += found.entries
            total.sections += found.sections
            total.problems |= found.problems
            results.write(total, target, command, facts)
            results.write_entries(entries + total.entries, out, facts)
        entries += total.entries
        problems |= total.problems
        say(f"wrote {target}")
    for one in entries:
        figures = f"{one['ours']:10.3f} {one['peer']:10.3f} {one['unit']:8} {one['ratio']:6.2f}"
        print(f"{one['name']:44} {figures}  {one['peer_tool']}")
    for name, problem in problems.items():
        say(f"error: `{name}`: {problem}")
    say(f"wrote {out / 'peers.json'}")
    return 1 if problems else 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="just bench-peers", description=__doc__.splitlines()[0])
    add = parser.add_argument
    names = ", ".join(NAMES)
    add("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=f"rows to measure: {names}")
    add("--repeats", type=positive, default=REPEATS, help="paired repeats (default: %(default)s)")
    add("--pairs", type=positive, default=PAIRS, help="pairs of the evaluator rows (default: %(default)s)")
    add("--rows", type=positive, default=ROWS, help="rows of the table that is loaded (default: %(default)s)")
    add("--prompts", type=positive, default=PROMPTS, help="prompts of the generation rows (default: %(default)s)")
    add("--new-tokens", type=positive, default=NEW_TOKENS, help="tokens of an answer there (default: %(default)s)")
    add("--rounds", type=positive, default=ROUNDS, help="rounds of the simulation (default: %(default)s)")
    add("--out", type=Path, default=REPOSITORY / "results/bench", help="where peers.json goes (default: results/bench)")
    add("--poq", type=Path, default=REPOSITORY / "target/release/poq", help="the binary (default: target/release/poq)")
    add("--models", type=Path, default=REPOSITORY / "models", help="registry and exported models (default: models)")
    return parser.parse_args()


def positive(text: str) -> int:
    """A number of things to do."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
