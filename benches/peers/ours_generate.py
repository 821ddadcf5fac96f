"""poq as a contestant that generates: a fresh run for every pass, answered by the built binary.

On the clock is what run.json records of the model: from tokenising the prompts to stored rows. Peers have their model
loaded before their clock starts, so poq's process start and model loading stay off it as well.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as parquet
from contest import Pass, Unavailable
from ours import Engine
from prompts import DATA_SET, Answer, Prompts
from settings import GENERATION

# Where a stage may say how long a model took, outermost first: loading is in none of them.
SECONDS = (("wall_seconds",), ("wall seconds",), ("inference", "seconds"), ("seconds",))


@dataclass(frozen=True)
class DecoderVariant:
    """A model of the registry, and how many rows it decodes together."""

    model: str
    precision: str
    batch_size: int


class OursGenerating:
    """poq with one variant."""

    def __init__(self, engine: Engine, variant: DecoderVariant) -> None:
        self.engine = engine
        self.variant = variant
        self.precision = variant.precision

    def describe(self) -> str:
        return f"{self.engine.version}, {self.variant.model}, batch_size {self.variant.batch_size}"

    def warm_up(self, prompts: Prompts) -> None:
        """None: every pass is a process of its own."""

    def timed_pass(self, prompts: Prompts) -> Pass:
        model = self.variant.model
        run = self.engine.folder / "pass" / f"{model}-{self.variant.batch_size}"
        shutil.rmtree(run.parent, ignore_errors=True)
        data_sets = prompts.write_data_set(self.engine.folder / "data_sets")
        experiment = self.write_experiment(data_sets, prompts)
        self.engine.run("tasks", str(run), "--experiment", str(experiment), "--datasets", str(data_sets), "--quiet")
        begin = time.perf_counter()
        self.engine.run("generate", str(run), "--format", "json", "--quiet")
        command_seconds = time.perf_counter() - begin
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        return Pass(model_seconds(record, model), read_answers(run, model, prompts), command_seconds)

    def write_experiment(self, folder: Path, prompts: Prompts) -> Path:
        """The settings of this variant; all that it leaves out has its default."""
        generation = {
            "models": [self.variant.model],
            "batch_size": self.variant.batch_size,
            "min_new_tokens": prompts.new_tokens,
            "max_new_tokens": prompts.new_tokens,
            **GENERATION,
        }
        lines = ['name = "peers"', "[data]", f"sets = [{{ dataset = {json.dumps(DATA_SET)} }}]", "[generation]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in generation.items()]
        path = folder / f"{self.variant.model}-{self.variant.batch_size}.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def model_seconds(record: dict, model: str) -> float:
    """Wall time of a model in run.json, from texts to stored rows. Raises Unavailable where it is not found."""
    figures = record.get("stages", {}).get("generate", {}).get("details", {}).get("models", {}).get(model)
    for path in SECONDS:
        found = figures
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, (int, float)):
            return float(found)
    raise Unavailable(f"run.json does not say how long `{model}` took; it has: {figures}")


def read_answers(run: Path, model: str, prompts: Prompts) -> list[Answer]:
    """In the order of the prompts. Raises Unavailable where a row failed or poq read another prompt than the peers."""
    columns = ["task_id", "prompt", "output_raw", "output_tokens", "error"]
    table = parquet.read_table(run / "generations" / f"{model}.parquet", columns=columns)
    rows = {row["task_id"]: row for row in table.to_pylist()}
    found = []
    for question, text in zip(prompts.questions, prompts.texts):
        row = rows[question.question_id]
        if row["error"] is not None:
            raise Unavailable(f"task `{question.question_id}` failed: {row['error']}")
        if row["prompt"] != text:
            raise Unavailable(f"task `{question.question_id}`: poq rendered another prompt than the peers were given")
        found.append(Answer(row["output_raw"], row["output_tokens"]))
    return found
