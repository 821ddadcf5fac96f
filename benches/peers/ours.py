"""poq as a contestant: a fresh run directory for every pass, scored by the built binary.

On the clock is the evaluator pipeline alone, from texts to stored scores, as run.json records it. Peers have their
model loaded before their clock starts, so poq's process start and model loading stay off it as well. poq begins every
pass cold, peers are warm.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from contest import Pass, Unavailable
from inputs import Pairs
from settings import REPOSITORY, Variant


class Engine:
    """The binary, the exported models and a folder for runs."""

    def __init__(self, binary: Path, models: Path, folder: Path) -> None:
        self.binary = binary
        self.models = models
        self.folder = folder
        self.version = self.run("--version").strip() if binary.exists() else "poq"

    def run(self, *arguments: str) -> str:
        """Run a command of poq and return its stdout. Raises Unavailable with what it said."""
        command = [str(self.binary), "--models", str(self.models), "--results", str(self.folder), *arguments]
        try:
            done = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except OSError as error:
            raise Unavailable(f"{error}; `cargo build --release --locked` builds it") from None
        if done.returncode != 0:
            message = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise Unavailable(f"poq {arguments[0]}: {message}")
        return done.stdout

    def imported(self, pairs: Pairs, evaluator: str) -> Path:
        """The run directory of these pairs before scoring; made once."""
        name = f"{pairs.name}-{len(pairs)}-{evaluator}"
        if (self.folder / name).exists():
            return self.folder / name
        answers = self.folder / f"{name}.jsonl"
        answers.parent.mkdir(parents=True, exist_ok=True)
        with answers.open("w", encoding="utf-8") as file:
            for (task, model), reference, output in zip(pairs.row_ids(), pairs.references, pairs.outputs):
                row = {"task_id": task, "task_type": "qa", "input": task, "reference": reference}
                row |= {"model": model, "output": output}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.run("import", str(answers), "--run", name, "--evaluator", evaluator, "--quiet")
        return self.folder / name


class Ours:
    """poq with the options of one variant."""

    def __init__(self, engine: Engine, evaluator: str, variant: Variant) -> None:
        self.engine = engine
        self.evaluator = evaluator
        self.variant = variant
        self.precision = "f32" if variant.precision == "f32" else "reduced"

    def describe(self) -> str:
        return f"{self.engine.version}, {' '.join(self.variant.options)}"

    def warm_up(self, pairs: Pairs) -> None:
        """None: every pass is a process of its own."""

    def timed_pass(self, pairs: Pairs) -> Pass:
        prepared = self.engine.imported(pairs, self.evaluator)
        run = self.engine.folder / "pass" / prepared.name
        shutil.rmtree(run.parent, ignore_errors=True)
        shutil.copytree(prepared, run)
        begin = time.perf_counter()
        self.engine.run("score", str(run), "--format", "json", "--quiet", *self.variant.options)
        command_seconds = time.perf_counter() - begin
        score = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]["score"]
        seconds = score["details"]["evaluators"][self.evaluator]["inference"]["seconds"]
        return Pass(seconds, self.read_scores(run, pairs), command_seconds)

    def read_scores(self, run: Path, pairs: Pairs) -> np.ndarray:
        """Raw scores in the order of the pairs; a row that failed is no number."""
        table = parquet.read_table(run / "scores" / f"{self.evaluator}.parquet", columns=["task_id", "model", "raw"])
        found = {(row["task_id"], row["model"]): row["raw"] for row in table.to_pylist()}
        scores = [found[row] for row in pairs.row_ids()]
        if None in scores:
            raise Unavailable(f"{scores.count(None)} of {len(scores)} rows failed")
        return np.array(scores)
