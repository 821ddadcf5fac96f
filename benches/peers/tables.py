"""The row `load_vs_jsonl`: how long pandas takes to load a run's widest table, against the same rows as JSON lines."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

import million
from contest import Pass, Unavailable
from peers import Worker, stop
from rows import Bench, Measured, entry, span, table
from talk import say

NAME = "load_vs_jsonl"
NAMES = (NAME,)
WARM_UP_ROWS = 1000
# JSON lines take long; fewer repeats are enough to show that.
JSON_REPEATS = 3


@dataclass(eq=False)
class Reader:
    """A call of pandas, in a process of its own."""

    call: str
    options: dict
    most_repeats: int | None = None
    passes: list[Pass] = field(default_factory=list)

    def seconds(self) -> list[float]:
        """Of every repeat."""
        return [found.seconds for found in self.passes]


def measure(bench: Bench) -> Measured:
    """Make the tables, load them in turn, and see that they hold the same."""
    found = Measured()
    if NAME not in bench.only:
        return found
    ours = Reader("pandas.read_parquet", {"reader": "parquet"})
    plain = Reader("pandas.read_json(lines=True)", {"reader": "json_lines", "arguments": {}}, JSON_REPEATS)
    arrow_options = {"reader": "json_lines", "arguments": {"engine": "pyarrow"}}
    arrow = Reader('pandas.read_json(lines=True, engine="pyarrow")', arrow_options, JSON_REPEATS)
    readers = [ours, plain, arrow]
    try:
        say(f"{NAME}: making a metrics.parquet of {bench.rows} rows")
        whole = million.make(bench.engine, bench.rows, bench.out / "load")
        sizes = [path.stat().st_size for path in (whole.parquet, whole.json_lines)]
        versions = alternate(readers, whole, million.head(whole, WARM_UP_ROWS), bench)
        whole.json_lines.unlink()  # half a gigabyte that nobody reads again
    except Unavailable as refusal:
        found.problems[NAME] = str(refusal)
        return found
    seen = [reader.passes[-1].answers for reader in readers]
    if any(not all(map(math.isclose, seen[0], other)) for other in seen[1:]):
        found.problems[NAME] = f"the readers do not find the same table: {[list(one) for one in seen]}"
    more = {
        "rows": int(seen[0][0]),
        "columns": int(seen[0][1]),
        "ours_bytes": sizes[0],
        "peer_bytes": sizes[1],
        "ours_tool": f"{ours.call} on metrics.parquet of {bench.engine.version}; {versions}",
    }
    for name, peer in ((NAME, plain), (f"{NAME}_pyarrow_engine", arrow)):
        found.entries.append(entry(name, ours.seconds(), peer.seconds(), f"{peer.call}; {versions}", "s", **more))
    found.sections.append(section(readers, more))
    return found


def alternate(readers: list[Reader], whole: million.Tables, small: million.Tables, bench: Bench) -> str:
    """Every reader once, then every reader again; the versions they ran with."""
    logs = (bench.out / f"logs/pandas-{index}.log" for index in range(len(readers)))
    workers = [Worker("pandas_worker", reader.options, log) for reader, log in zip(readers, logs)]

    def timed_pass(reader: Reader, worker: Worker, tables: million.Tables) -> Pass:
        return worker.timed_pass(tables.parquet if reader.options["reader"] == "parquet" else tables.json_lines, 0)

    try:
        for reader, worker in zip(readers, workers):
            timed_pass(reader, worker, small)  # imports what the reader needs
        for repeat in range(bench.repeats):
            for reader, worker in zip(readers, workers):
                if repeat < (reader.most_repeats or bench.repeats):
                    reader.passes.append(timed_pass(reader, worker, whole))
                    say(f"{reader.call}: {reader.seconds()[-1]:.3f} s")
        return workers[0].versions()
    finally:
        stop(workers)


def section(readers: list[Reader], more: dict) -> str:
    """All readers in one table."""
    rows = []
    for reader in readers:
        low, high = span(reader.seconds())
        figures = [f"{statistics.median(reader.seconds()):.3f}", f"{low:.3f}..{high:.3f}", len(reader.passes)]
        rows.append([reader.call, *figures])
    text = (
        f"## Loading {more['rows']:,} rows of metrics\n\nmetrics.parquet as poq writes it ({more['columns']} columns, "
    )
    text += (
        f"{more['ours_bytes'] / 1e6:.0f} MB) and the same rows as JSON lines ({more['peer_bytes'] / 1e6:.0f} MB).\n\n"
    )
    return text + table(["call", "s", "spread", "repeats"], rows)
