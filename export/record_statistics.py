"""Writes tests/expected/statistics.json: random tables with what SciPy, statsmodels, scikit-learn, pingouin and krippendorff say of them.

    python export/record_statistics.py

Run by whoever changes a statistic, in an environment with the packages of `PACKAGES`. The tables have ties, nulls, constants, large
offsets and few rows; a number that is not defined is null. Of the intervals by resampling tasks, the reference is the same
procedure in NumPy with other random numbers and ten times the resamples: they agree within the error of the drawing.
"""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
import pingouin
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import cohen_kappa_score

TARGET = Path(__file__).resolve().parents[1] / "tests/expected/statistics.json"
PACKAGES = ("scipy", "statsmodels", "scikit-learn", "pingouin", "krippendorff", "numpy", "pandas")
SEED, RESAMPLES = 20261123, 20_000
Column = list[float | None]


def main() -> None:
    """Draw the tables, ask the references, write."""
    random = np.random.default_rng(SEED)
    tables = [describe(name, columns, tasks) for name, columns, tasks in draw(random)]
    intervals = [resampled(random, table) for table in tables if table["name"].startswith("tasks")]
    content = {"reference": {name: version(name) for name in PACKAGES}, "tables": tables, "intervals": intervals}
    TARGET.write_text(json.dumps(content, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{TARGET.name}: {len(tables)} tables, {TARGET.stat().st_size} bytes")


def draw(random: np.random.Generator) -> list[tuple[str, list[Column], list[str]]]:
    """Named tables of three columns, and the task of every row."""
    found = []

    def add(name: str, columns: list[np.ndarray], gaps: float = 0.0, per_task: int = 3) -> None:
        rows = len(columns[0])
        holes = [random.random(rows) < gaps for _ in columns]
        values = [[None if hole else float(value) for value, hole in zip(*pair)] for pair in zip(columns, holes)]
        found.append((name, values, [f"t{row // per_task}" for row in range(rows)]))

    def related(rows: int, offset: float = 0.0, scale: float = 1.0) -> list[np.ndarray]:
        length = random.normal(size=rows)
        first = 0.5 * length + random.normal(size=rows)
        second = 0.4 * first - 0.3 * length + random.normal(size=rows)
        return [offset + scale * column for column in (first, second, length)]

    for rows in (2, 3, 4, 5, 17, 60):
        add(f"continuous {rows}", related(rows))
    for rows in (6, 40, 90):
        add(f"ties {rows}", [np.clip(np.round(5 + 2 * column), 0, 10) for column in related(rows)])
        add(f"nulls {rows}", related(rows), gaps=0.3)
        add(f"ties and nulls {rows}", [np.clip(np.round(5 + 2 * column), 0, 10) for column in related(rows)], gaps=0.3)
    add("offset", related(30, offset=1e6))
    add("small numbers", related(30, scale=1e-6))
    add("large numbers", related(30, scale=1e9))
    for constant in range(3):
        columns = related(24)
        columns[constant] = np.full(24, 0.1)
        add(f"constant {constant}", columns)
    add("all null", related(8), gaps=1.0)
    first, second, _ = related(20)
    add("determined by length", [first, second, 3.0 * first - 2.0])
    add("opposite", [first, -first, second])
    for rows, gaps in ((120, 0.0), (150, 0.2)):
        columns = related(rows)
        shared = np.repeat(random.normal(size=rows // 3), 3)
        add(f"tasks {rows}", [columns[0] + shared, columns[1] + shared, columns[2]], gaps=gaps)
    return found


def describe(name: str, columns: list[Column], tasks: list[str]) -> dict[str, Any]:
    """What the references say of one table."""
    pairs = complete(columns[:2])
    triples = complete(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        correlated = len(pairs[0]) >= 3 and not any(is_constant(column) for column in pairs)
        return {
            "name": name,
            "columns": columns,
            "tasks": tasks,
            "n": len(pairs[0]),
            "pearson": number(stats.pearsonr(*pairs)[0]) if correlated else None,
            "spearman": number(stats.spearmanr(*pairs)[0]) if correlated else None,
            "kendall": number(stats.kendalltau(*pairs)[0]) if correlated else None,
            "partial": partial(triples),
            "alpha": alpha(columns),
            "kappa": kappa(pairs),
            "mean": [mean_interval(column) for column in columns],
            "spread": [spread(column) for column in columns],
            "slopes": slopes(columns, tasks),
        }


def complete(columns: list[Column]) -> list[np.ndarray]:
    """The rows without a gap."""
    rows = [row for row in zip(*columns) if None not in row]
    return [np.array(column, dtype=float) for column in zip(*rows)] if rows else [np.array([]) for _ in columns]


def is_constant(column: np.ndarray) -> bool:
    """Whether every value is the same."""
    return bool(len(column) == 0 or np.all(column == column[0]))


def number(value: float) -> float | None:
    """A number, or null for one that is none."""
    return float(value) if np.isfinite(value) else None


def partial(triples: list[np.ndarray]) -> float | None:
    """Pearson's r of the first two columns given the third."""
    if len(triples[0]) < 4 or any(is_constant(column) for column in triples):
        return None
    residuals = [sm.OLS(column, sm.add_constant(triples[2])).fit().resid for column in triples[:2]]
    if any(residual.std() < 1e-9 * column.std() for residual, column in zip(residuals, triples)):
        return None
    by_residuals = stats.pearsonr(*residuals)[0]
    if abs(by_residuals) < 1 - 1e-9:  # beyond, the package's covariance has no inverse
        standard = [(column - column.mean()) / column.std() for column in triples]
        frame = pd.DataFrame(dict(zip("xyz", standard)))
        assert abs(pingouin.partial_corr(frame, x="x", y="y", covar="z")["r"].iloc[0] - by_residuals) < 1e-8
    return number(by_residuals)


def alpha(columns: list[Column]) -> float | None:
    """Krippendorff's alpha for interval scales, the columns being raters."""
    values = np.array([[np.nan if value is None else value for value in column] for column in columns])
    pairable = values[:, (~np.isnan(values)).sum(axis=0) >= 2]
    known = pairable[~np.isnan(pairable)]
    if len(known) == 0 or is_constant(known):
        return None
    # Free of the unit and the origin, which the package's arithmetic is not.
    return number(krippendorff.alpha((values - known.mean()) / known.std(), level_of_measurement="interval"))


def kappa(pairs: list[np.ndarray]) -> float | None:
    """Quadratically weighted kappa, for pairs of whole points from 0 to 10."""
    whole = all(np.all((column == np.round(column)) & (column >= 0) & (column <= 10)) for column in pairs)
    if not whole or len(pairs[0]) < 2:
        return None
    points = [column.astype(int) for column in pairs]
    return number(cohen_kappa_score(*points, weights="quadratic", labels=list(range(11))))


def mean_interval(column: Column) -> list[float | None]:
    """Mean and the ends of its Student interval."""
    values = np.array([value for value in column if value is not None])
    if len(values) == 0:
        return [None, None, None]
    if len(values) == 1:
        return [number(values.mean()), None, None]
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), error) if error > 0 else [values.mean()] * 2
    return [number(values.mean()), number(low), number(high)]


def spread(column: Column) -> list[float | None]:
    """Standard deviation, median and three quantiles."""
    values = np.array([value for value in column if value is not None])
    if len(values) == 0:
        return [None] * 5
    deviation = number(values.std(ddof=1)) if len(values) > 1 else None
    return [deviation, *(number(np.quantile(values, share)) for share in (0.5, 0.025, 0.3, 0.975))]


def slopes(columns: list[Column], tasks: list[str]) -> list[list[float]] | None:
    """Of the first column on the other two, with standard errors clustered by task."""
    rows = [row for row in zip(*columns, tasks) if None not in row]
    if len(rows) < 4:
        return None
    y, *x = (np.array(column, dtype=float) for column in list(zip(*rows))[:3])
    centred = [column - column.mean() for column in (y, *x)]
    design = np.column_stack([column / (column.std() or 1.0) for column in centred[1:]])
    if np.linalg.matrix_rank(design, tol=1e-8 * len(rows)) < 2:
        return None
    unit = centred[0].std() or 1.0
    groups = pd.factorize(np.array([row[3] for row in rows]))[0]
    if groups.max() < 1:
        return None
    fit = sm.OLS(centred[0] / unit, sm.add_constant(design)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    scale = [unit / column.std() for column in centred[1:]]
    return [[float(fit.params[i + 1] * scale[i]), float(fit.bse[i + 1] * scale[i])] for i in range(2)]


def resampled(random: np.random.Generator, table: dict[str, Any]) -> dict[str, Any]:
    """Percentile intervals of three statistics by resampling tasks."""
    columns = np.array([[np.nan if value is None else value for value in column] for column in table["columns"]])
    tasks = np.array(table["tasks"])
    rows_of = [np.flatnonzero(tasks == task) for task in dict.fromkeys(table["tasks"])]
    found: dict[str, list[float]] = {"pearson": [], "partial": [], "alpha": []}
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[i] for i in random.integers(len(rows_of), size=len(rows_of))])
        drawn = columns[:, rows]
        pairs = drawn[:2, ~np.isnan(drawn[:2]).any(axis=0)]
        found["pearson"].append(np.corrcoef(pairs)[0, 1])
        triples = drawn[:, ~np.isnan(drawn).any(axis=0)]
        inverse = np.linalg.inv(np.cov(triples))
        found["partial"].append(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))
        found["alpha"].append(interval_alpha(drawn))
    return {"table": table["name"]} | {name: list(np.quantile(values, (0.025, 0.975))) for name, values in found.items()}


def interval_alpha(values: np.ndarray) -> float:
    """Krippendorff's alpha by its definition, which on whole tables equals the package's."""
    counts = (~np.isnan(values)).sum(axis=0)
    values, counts = values[:, counts >= 2], counts[counts >= 2]
    squares, sums = np.nansum(values**2, axis=0), np.nansum(values, axis=0)
    observed = (2 * (counts * squares - sums**2) / (counts - 1)).sum()
    n = counts.sum()
    return 1 - observed / (2 * (n * squares.sum() - sums.sum() ** 2) / (n - 1))


if __name__ == "__main__":
    main()
