"""pandas loading a table, as Parquet or as JSON lines."""

from __future__ import annotations

import pandas

from workers.serve import Pass, serve, versions


def load(options: dict) -> tuple[Pass, str]:
    """The reader that the options name."""

    def parquet(path: str, _: int) -> pandas.DataFrame:
        return pandas.read_parquet(path)

    def json_lines(path: str, _: int) -> pandas.DataFrame:
        return pandas.read_json(path, lines=True, **options["arguments"])

    return {"parquet": parquet, "json_lines": json_lines}[options["reader"]], versions("pandas", "pyarrow")


def summarise(frame: pandas.DataFrame) -> list[float]:
    """Equal for equal tables, near enough: rows, columns, and the sum over all numbers."""
    return [*frame.shape, float(frame.select_dtypes("number").sum().sum())]


if __name__ == "__main__":
    serve(load, read=str, summarise=summarise)
