"""poq, by its own command line: `poq bench` for LLMs, `poq score` for evaluators, `poq generate` while the card is watched.

LLMs are loaded once per cell, warmed up, and timed from texts to answers; an evaluator's clock runs from tokenising to
stored scores, in a fresh process for every pass.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process import Unavailable
from prompts import DATA_SET, Prompts

from .finding import last_line
from .made import Made
from .plan import Subject
from .texts import make_pairs

# Prompt tokens that one pass over a batch reads on a GPU; the default is meant for a CPU.
GPU_BATCH_TOKENS = 16384
# Where CUDA's own installer puts its libraries; the loader does not always know.
TOOLKIT = "/usr/local/cuda/lib64"


@dataclass(frozen=True)
class Watched:
    """A run of a stage: seconds of inference as run.json records them, and when the command began and ended."""

    seconds: float
    begin: float
    end: float


class Poq:
    """The binary, a registry of made models, and a folder for runs."""

    def __init__(self, binary: Path, made: Made, out: Path, timeout: float, libraries: Sequence[str] = ()) -> None:
        self.binary = binary
        # ONNX Runtime looks for CUDA's libraries where the system has them, and then in these folders.
        places = [os.environ.get("LD_LIBRARY_PATH", ""), *((TOOLKIT, *libraries) if made.device == "cuda" else ())]
        self.environment = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, places))}
        self.made = made
        self.device = made.device
        self.runs = out / "runs"
        self.timeout = timeout
        self.cuda_graphs = False
        self.version = self.run("--version").strip()

    def run(self, *arguments: str) -> str:
        """A command of poq; returns its stdout. Raises Unavailable with what it said."""
        command = [str(self.binary), "--models", str(self.made.models), "--results", str(self.runs), *arguments]
        try:
            done = subprocess.run(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.timeout,
            )
        except OSError as error:
            raise Unavailable(f"poq cannot be started: {error}") from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"no answer within {self.timeout:.0f} s") from None
        # A sweep of which no cell worked says why in its rows.
        if done.returncode != 0 and not (arguments[0] == "bench" and done.stdout.startswith("{")):
            raise Unavailable(f"poq {arguments[0]}: {reason(done)}")
        return done.stdout

    def generate(self, subject: Subject, prompts: Prompts, batch_size: int, repeats: int) -> dict[str, Any]:
        """A row of `poq bench`: greedy, no answer ends early, prompts read from a data set of their own."""
        data_sets = prompts.write_data_set(self.runs.parent / "data_sets")
        given = ["--model", subject.key, "--role", "inference", "--batch-size", str(batch_size), *self.options]
        given += ["--prompts", str(len(prompts)), "--new-tokens", str(prompts.new_tokens), "--repeats", str(repeats)]
        place = ["--datasets", str(data_sets), "--out", str(self.runs / "bench")]
        found = self.run("bench", *given, *place, "--format", "json", "--quiet")
        (row,) = json.loads(found)["rows"]
        if row["error"]:
            raise Unavailable(f"poq bench: {row['error']}")
        if row["provider"] != self.device:
            raise Unavailable(f"poq bench: it was run by the provider {row['provider']}, not by {self.device}")
        if row["texts"] != len(prompts):
            raise Unavailable(f"poq bench: {row['texts']} prompts were answered instead of {len(prompts)}")
        return row

    @property
    def options(self) -> list[str]:
        """Of `poq bench` for LLMs."""
        if self.device != "cuda":
            return []
        graphs = ["--cuda-graphs"] if self.cuda_graphs else []
        return ["--provider", "cuda", "--batch-tokens", str(GPU_BATCH_TOKENS), *graphs]

    def score(self, subject: Subject, count: int, batch_size: int) -> Watched:
        """One pass over the pairs, in a fresh copy of the run."""
        run = self._fresh(self._imported(subject, count))
        options = ["--provider", self.device, "--precision", self.made.precision(subject), "--batch-size", str(batch_size)]
        begin = time.monotonic()
        self.run("score", str(run), *options, "--workers", "1", "--format", "json", "--quiet")
        end = time.monotonic()
        details = self._details(run, "score")
        return Watched(details["evaluators"][subject.key]["inference"]["seconds"], begin, end)

    def answer(self, subject: Subject, prompts: Prompts, batch_size: int) -> Watched:
        """`poq generate` on all prompts."""
        data_sets = prompts.write_data_set(self.runs.parent / "data_sets")
        run = self.runs / "pass" / subject.key
        shutil.rmtree(run, ignore_errors=True)
        experiment = self._experiment(subject, prompts.new_tokens, batch_size)
        self.run("tasks", str(run), "--experiment", str(experiment), "--datasets", str(data_sets), "--quiet")
        begin = time.monotonic()
        self.run("generate", str(run), "--format", "json", "--quiet")
        end = time.monotonic()
        return Watched(self._details(run, "generate")["models"][subject.key]["seconds"], begin, end)

    def _experiment(self, subject: Subject, new_tokens: int, batch_size: int) -> Path:
        """Settings of a run of `poq generate`."""
        settings = {"models": [subject.key], "temperature": 0, "batch_size": batch_size}
        settings |= {"min_new_tokens": new_tokens, "max_new_tokens": new_tokens}
        if self.device == "cuda":
            settings |= {"batch_tokens": GPU_BATCH_TOKENS, "provider": "cuda", "cuda_graphs": self.cuda_graphs}
        lines = ['name = "gpu"', "[data]", f"sets = [{{ dataset = {json.dumps(DATA_SET)} }}]", "[generation]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        path = self.runs / f"{subject.key}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _imported(self, subject: Subject, count: int) -> Path:
        """The run directory of these pairs before scoring; made once."""
        name = f"{subject.key}-{count}"
        if not (self.runs / name / "run.json").exists():
            pairs = make_pairs(count)
            answers = self.runs / f"{name}.jsonl"
            answers.parent.mkdir(parents=True, exist_ok=True)
            with answers.open("w", encoding="utf-8") as file:
                for (task, model), reference, output in zip(pairs.row_ids(), pairs.references, pairs.outputs):
                    row = {"task_id": task, "task_type": "qa", "input": task, "reference": reference}
                    file.write(json.dumps(row | {"model": model, "output": output}, ensure_ascii=False) + "\n")
            self.run("import", str(answers), "--run", name, "--evaluator", subject.key, "--quiet")
        return self.runs / name

    def _fresh(self, prepared: Path) -> Path:
        run = self.runs / "pass" / prepared.name
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(prepared, run)
        return run

    def _details(self, run: Path, stage: str) -> dict[str, Any]:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        return record["stages"][stage]["details"]


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """What poq said of its failure: the line that begins with `error:` and what follows, else the last line."""
    said = done.stderr.splitlines()
    first = next((index for index, line in enumerate(said) if line.startswith("error:")), None)
    if first is None:
        return f"{last_line(done.stderr)} (exit code {done.returncode})"
    return " ".join(" ".join(said[first:]).removeprefix("error:").split())
