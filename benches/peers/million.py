"""The large metrics.parquet of `load_vs_jsonl`, written by poq itself, and the same rows as JSON lines.

The answers are short and come from the shipped questions; evaluators are replaced by poq's deterministic stand-in
(`--fake-inference`), because only the table matters here.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas
import pyarrow
import pyarrow.parquet as parquet
from inputs import MODELS_PER_REFERENCE
from ours import Engine
from settings import DATASETS

RUN = "load"


@dataclass(frozen=True)
class Tables:
    """The same rows twice."""

    parquet: Path
    json_lines: Path


def make(engine: Engine, rows: int, folder: Path) -> Tables:
    """The metrics of so many answers, five models to a task. Raises Unavailable if poq does."""
    answers = folder / "answers.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(answer_table(max(1, rows // MODELS_PER_REFERENCE)), answers)
    shutil.rmtree(engine.folder / RUN, ignore_errors=True)
    engine.run("import", str(answers), "--run", RUN, "--quiet")
    engine.run("score", str(engine.folder / RUN), "--fake-inference", "--quiet")
    engine.run("report", str(engine.folder / RUN), "--quiet")
    tables = Tables(engine.folder / RUN / "metrics.parquet", folder / "metrics.jsonl")
    write_json_lines(pandas.read_parquet(tables.parquet), tables.json_lines)
    return tables


def head(tables: Tables, rows: int) -> Tables:
    """The first rows, in files beside the JSON lines."""
    folder = tables.json_lines.parent
    small = Tables(folder / "head.parquet", folder / "head.jsonl")
    batch = next(parquet.ParquetFile(tables.parquet).iter_batches(rows))
    parquet.write_table(pyarrow.Table.from_batches([batch]), small.parquet)
    write_json_lines(pandas.read_parquet(small.parquet), small.json_lines)
    return small


def answer_table(tasks: int) -> pyarrow.Table:
    """Five answers to each of so many tasks, as `poq import` reads them; no chance involved."""
    squad = json.loads((DATASETS / "quick/squad.json").read_text(encoding="utf-8"))
    paragraphs = [paragraph for article in squad["data"] for paragraph in article["paragraphs"]]
    questions = [(qa["question"], qa["answers"][0]["text"]) for paragraph in paragraphs for qa in paragraph["qas"]]
    forms = ("{0}", "It is {0}.", "{0}, in the end", "The passage says {0}", "Perhaps {1}")
    columns: dict[str, list] = {
        name: [] for name in ("task_id", "task_type", "dataset", "input", "reference", "model", "output")
    }
    for task in range(tasks):
        question, answer = questions[task % len(questions)]
        _, other = questions[(task * 7 + 3) % len(questions)]
        for model, form in enumerate(forms):
            output = form.format(answer, other)
            row = (f"task_{task:07}", "qa", "bench", f"{question} ({task})", answer, f"model_{model}", output)
            for name, value in zip(columns, row):
                columns[name].append(value)
    return pyarrow.table(columns)


def write_json_lines(frame: pandas.DataFrame, target: Path) -> None:
    """One object to a line, every number in full."""
    frame.to_json(target, orient="records", lines=True, double_precision=15, force_ascii=False)
