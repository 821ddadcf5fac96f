"""Checks that a run's tables load in pandas, Polars and DuckDB with the columns that notebooks rely on.

    python tests/check_tables.py results/quick

The three are loaded independently, because they disagree about what is valid: a column that one of them reads as text
another refuses, and a file that opens alone may not join its neighbours under a glob. Needs tests/requirements-tables.txt.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas
import polars

# Column -> kind. A trailing `!` means that no value may be missing.
TABLES: dict[str, dict[str, str]] = {
    "tasks": {
        "task_id": "text!", "dataset": "text!", "task_type": "text!", "input": "text!", "reference": "text!",
        "references": "texts!",
    },
    "generations": {
        "task_id": "text!", "model": "text!", "prompt": "text", "output_raw": "text", "output": "text",
        "prompt_tokens": "integer", "output_tokens": "integer", "finish_reason": "text", "latency_ms": "float",
        "seed": "integer", "error": "text",
    },
    "scores": {
        "task_id": "text!", "model": "text!", "scorer": "text!", "raw": "float", "normalized": "float",
        "truncated": "boolean", "error": "text",
    },
    "judgements": {
        "task_id": "text!", "model": "text!", "score": "number", "justification": "text", "raw_reply": "text",
        "input_tokens": "integer", "output_tokens": "integer", "cost_usd": "float", "error": "text",
    },
    "judge_sample": {"task_id": "text!", "dataset": "text!", "task_type": "text!", "place": "integer!"},
    "judge_checks": {
        "task_id": "text!", "model": "text!", "check": "text!", "variant": "text!", "judge": "text!", "score": "number",
        "baseline": "number", "raw_reply": "text", "cost_usd": "float", "error": "text",
    },
    "profile": {
        "node_type": "text!", "node": "text!", "device": "text!", "batch_size": "integer!", "samples": "integer!",
        "latency_ms_mean": "float", "latency_ms_p50": "float", "latency_ms_p95": "float", "latency_ms_p99": "float",
        "throughput": "float", "tokens_per_s": "float", "peak_memory_mb": "float",
        "peak_device_memory_mb": "float", "cost_norm": "float",
    },
    "rewards": {
        "node_type": "text!", "node": "text!", "avg_reward": "float", "stderr": "float", "ci_low": "float",
        "ci_high": "float", "expected_reward": "float", "z": "float", "avg_latency_ms": "float", "cost_norm": "float",
        "jobs": "integer!", "std_reward": "float", "reward_p05": "float", "reward_p50": "float", "reward_p95": "float",
        "expected_std": "float", "strategy": "text!", "declared_cost": "float", "spent_cost": "float",
    },
    "network": {"metric": "text!", "value": "float"},
    "rounds": {
        "round": "integer!", "task_id": "text!", "model": "text!", "evaluators": "texts!", "reports": "floats!",
        "consensus": "float", "reward_inference": "float", "rewards_evaluators": "floats!",
    },
    "signals": {
        "task_id": "text!", "model": "text!", "task_type": "text!", "signal": "text!", "source": "text!", "value": "float",
        "error": "text",
    },
    "signal_audit": {
        "task_type": "text!", "signal": "text!", "kind": "text!", "reference": "text!", "split": "text!", "n": "integer!",
        "pearson": "float", "ci_low": "float", "ci_high": "float", "spearman": "float", "sign": "text",
        "default_weight": "float", "kept": "boolean", "calibrated_weight": "float",
    },
    "cascade": {
        "threshold": "float!", "task_type": "text!", "verdict": "text!", "evaluators": "texts!", "n": "integer!",
        "escalated_share": "float", "cost_ms": "float", "cost_saved_vs_full": "float", "cost_saved_vs_last": "float",
        "pearson": "float", "spearman": "float", "mean_abs_difference_consensus": "float",
    },
    "metrics": {
        "task_id": "text!", "model": "text!", "f1": "float", "judge": "number", "prompt_tokens": "integer",
        "output_tokens": "integer", "latency_ms": "float",
    },
}  # fmt: skip
IN_PARTS = ("generations", "scores")  # a folder with one file per model or scorer
OPTIONAL = ("judge_sample", "judgements", "judge_checks", "signals", "signal_audit", "cascade")  # only runs that asked for them have them
NOT_EVALUATORS = ("f1", "exact_match")

Loaded = tuple[int, dict[str, str], dict[str, int]]  # rows, kind of each column, missing values of each column


class TableError(Exception):
    """A table or column that is not what was promised."""


def with_pandas(pattern: str) -> Loaded:
    """Kinds are taken from the values: pandas turns integers and booleans with gaps into other types."""
    frame = pandas.concat([pandas.read_parquet(path) for path in sorted(glob.glob(pattern))], ignore_index=True)
    kinds = {name: _kind_of_series(frame[name]) for name in frame.columns}
    return len(frame), kinds, {name: int(frame[name].isna().sum()) for name in frame.columns}


def _kind_of_series(series: pandas.Series) -> str:
    values = series.dropna()
    types = pandas.api.types
    if types.is_bool_dtype(series):
        return "boolean"
    if types.is_integer_dtype(series):
        return "integer"
    if types.is_float_dtype(series):
        # A column of integers with gaps arrives as floats; one without any value could be either.
        return "integer or float" if (values == values.round()).all() else "float"
    if len(values) == 0:
        return "anything"  # no value to tell by
    if all(isinstance(value, bool) for value in values):
        return "boolean"
    if all(isinstance(value, str) for value in values):
        return "text"
    if all(hasattr(value, "__len__") and not isinstance(value, str) for value in values):
        items = [item for value in values for item in value]
        if not items:
            return "anything"
        return "texts" if all(isinstance(item, str) for item in items) else "floats"
    return str(series.dtype)


def with_polars(pattern: str) -> Loaded:
    """Kinds are the column types."""
    frame = polars.read_parquet(pattern)
    kinds = {name: _kind_of_polars(dtype) for name, dtype in frame.schema.items()}
    return frame.height, kinds, {name: frame[name].null_count() for name in frame.columns}


def _kind_of_polars(dtype: polars.DataType) -> str:
    if isinstance(dtype, polars.List):
        return _kind_of_polars(dtype.inner) + "s"
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    return {polars.String: "text", polars.Boolean: "boolean"}.get(dtype, str(dtype))


def with_duckdb(pattern: str) -> Loaded:
    """Kinds are the SQL types."""
    table = duckdb.read_parquet(pattern)
    kinds = {name: _kind_of_sql(str(kind)) for name, kind in zip(table.columns, table.types, strict=True)}
    counts = ", ".join(f'count("{name}")' for name in table.columns)
    ((rows, *present),) = table.aggregate(f"count(*), {counts}").fetchall()
    return rows, kinds, {name: rows - count for name, count in zip(table.columns, present, strict=True)}


def _kind_of_sql(kind: str) -> str:
    if kind.endswith("[]"):
        return _kind_of_sql(kind[:-2]) + "s"
    if kind in ("FLOAT", "DOUBLE"):
        return "float"
    if kind.endswith("INT") or kind.endswith("INTEGER"):
        return "integer"
    return {"VARCHAR": "text", "BOOLEAN": "boolean"}.get(kind, kind)


LOADERS: dict[str, Callable[[str], Loaded]] = {"pandas": with_pandas, "Polars": with_polars, "DuckDB": with_duckdb}


def fits(kind: str, promised: str) -> bool:
    """Whether a loaded kind is the promised one; `number` takes integers and floats alike."""
    if kind == "anything" or kind == promised:
        return True
    accepted = {"number": ("integer", "float", "integer or float")}
    return kind in accepted.get(promised, ()) or (kind == "integer or float" and promised in ("integer", "float"))


def check(table: str, pattern: str, columns: dict[str, str]) -> str:
    """Loads a table three times; returns the line to print."""
    found: dict[str, int] = {}
    extra = 0
    for loader, load in LOADERS.items():
        try:
            rows, kinds, missing = load(pattern)
        except Exception as error:  # each library has its own errors; all mean the same here
            raise TableError(f"{table}: {loader} cannot load it: {error}") from error
        for column, kind in columns.items():
            promised = kind.removesuffix("!")
            if column not in kinds:
                raise TableError(f"{table}.{column}: missing in {loader}; there are {', '.join(kinds)}")
            if not fits(kinds[column], promised):
                raise TableError(f"{table}.{column}: {loader} reads {kinds[column]}, promised is {promised}")
            if kind.endswith("!") and missing[column]:
                raise TableError(f"{table}.{column}: {missing[column]} values are missing in {loader}")
        found[loader], extra = rows, len(kinds) - len(columns)
    if len(set(found.values())) > 1:
        raise TableError(f"{table}: the loaders count different rows: {found}")
    return f"{table}: {rows} rows, {len(columns)} promised columns, {extra} more"


def evaluators(run: Path) -> list[str]:
    """Scorers of the run that are models: each has a column of its own in `metrics`."""
    scorers = polars.read_parquet(run / "scores/*.parquet", columns=["scorer"])["scorer"].unique().sort()
    return [scorer for scorer in scorers if scorer not in NOT_EVALUATORS]


def main(run: Path) -> int:
    problems = 0
    for table, columns in TABLES.items():
        path = run / table / "*.parquet" if table in IN_PARTS else run / f"{table}.parquet"
        try:
            if not glob.glob(str(path)):
                if table in OPTIONAL:
                    print(f"{table}: absent, which is allowed")
                    continue
                raise TableError(f"{table}: there is no {path}")
            if table == "metrics":
                columns = columns | {name: "float" for name in evaluators(run)}
            print(check(table, str(path), columns))
        except TableError as error:
            problems += 1
            print(f"error: {error}", file=sys.stderr)
    return min(problems, 1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/check_tables.py RUN_DIRECTORY")
    sys.exit(main(Path(sys.argv[1])))
