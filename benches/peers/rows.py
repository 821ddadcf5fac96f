"""What a row group hands back, and the one shape of an entry of peers.json."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the shape of an entry needs none of its packages
    from ours import Engine


@dataclass(frozen=True)
class Bench:
    """What every row needs to know of the command line."""

    engine: Engine
    models: Path
    out: Path
    only: frozenset[str]
    repeats: int
    pairs: int
    rows: int
    prompts: int
    new_tokens: int
    rounds: int


@dataclass
class Measured:
    """Entries, what RESULTS.md says about them, and what went wrong."""

    entries: list[dict] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    # By name of the row.
    problems: dict[str, str] = field(default_factory=dict)


def entry(name: str, ours: Sequence[float], peer: Sequence[float], peer_tool: str, unit: str, **more: object) -> dict:
    """One row from the values of all repeats. In a unit of time less is better, in any other more."""

    def ratio(of_ours: float, of_peer: float) -> float:
        return of_peer / of_ours if unit == "s" else of_ours / of_peer

    medians = statistics.median(ours), statistics.median(peer)
    paired = [ratio(*values) for values in zip(ours, peer)]
    return {
        "name": name,
        "ours": round(medians[0], 4),
        "peer": round(medians[1], 4),
        "peer_tool": peer_tool,
        "unit": unit,
        "ratio": round(ratio(*medians), 4),
        "repeats": min(len(ours), len(peer)),
        "spread": {"ours": span(ours), "peer": span(peer), "ratio": span(paired)},
        **more,
    }


def span(values: Sequence[float]) -> list[float]:
    """Smallest and largest."""
    return [round(min(values), 4), round(max(values), 4)]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; columns of numbers stand to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    numeric = [all(re.fullmatch(r"[*\d.,e+-]+", row[index]) for row in cells) for index in range(len(columns))]
    lines = [columns, ["--:" if right else "---" for right in numeric], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
