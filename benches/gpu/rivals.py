"""The peers: one process per tool and model, with the card to itself, told one batch size after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from process import Pass, Unavailable, Worker, stop
from prompts import Prompts
from settings import PEERS as PEERS_FOLDER

from .plan import COPY, PIPELINE, SCORE, SENTENCE_TRANSFORMERS, VLLM, Cell

MODULES = {
    PIPELINE: "gpu.workers.pipeline_worker",
    VLLM: "gpu.workers.vllm_worker",
    SENTENCE_TRANSFORMERS: "workers.sentence_transformers_worker",
    "torch": "gpu.workers.copy_worker",
}
NEEDED = {
    PIPELINE: ("torch", "transformers"),
    VLLM: ("vllm",),
    SENTENCE_TRANSFORMERS: ("torch", "sentence-transformers"),
    "torch": ("torch",),
}
NOT_INSTALLED = "is not installed for the Python of the peers"
DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}


class Rivals:
    """At most one worker at a time: the next one gets the memory of the last."""

    def __init__(self, python: str, packages: dict[str, str] | str, device: str, out: Path, timeout: float) -> None:
        self.python = python
        # Versions by package, or why no peer can be started.
        self.packages = packages
        self.device = device
        self.out = out
        self.timeout = timeout
        self._worker: tuple[tuple[str, str], Worker] | None = None

    def stop(self) -> None:
        """End the worker, if there is one."""
        if self._worker:
            stop([self._worker[1]])
            self._worker = None

    def timed_pass(self, cell: Cell, options: dict[str, Any], inputs: Path) -> Pass:
        """One pass of the cell's tool; the worker of another tool or model is ended. Raises Unavailable."""
        worker = self._get(cell, options)
        try:
            return worker.timed_pass(inputs, cell.batch_size)
        except Unavailable:
            self.stop()
            raise

    def describe(self) -> str:
        """Packages and versions of the worker."""
        return self._worker[1].versions() if self._worker else ""

    def _get(self, cell: Cell, options: dict[str, Any]) -> Worker:
        if isinstance(self.packages, str):
            raise Unavailable(self.packages)
        if missing := [name for name in NEEDED[cell.tool] if name not in self.packages]:
            raise Unavailable(f"{missing[0]} {NOT_INSTALLED}")
        if self._worker and self._worker[0] == (cell.tool, cell.model):
            return self._worker[1]
        self.stop()
        log = self.out / f"logs/{cell.model}-{cell.tool}.log"
        given = options | {"device": self.device}
        path = [PEERS_FOLDER.parent, PEERS_FOLDER]
        worker = Worker(MODULES[cell.tool], given, log, path, self.python, self.timeout)
        self._worker = (cell.tool, cell.model), worker
        return worker


def options(
    cell: Cell, checkpoint: Path | None, precision: str, batch_sizes: tuple[int, ...], length: int
) -> dict[str, Any]:
    """What a worker is told: `checkpoint` is its model's folder, `length` the most tokens of a row."""
    if cell.stage == COPY:
        return {}
    given: dict[str, Any] = {"folder": str(checkpoint), "dtype": DTYPES[precision]}
    if cell.stage == SCORE:
        pairwise = not (checkpoint / "modules.json").exists()
        first = cell.model == "ce_deberta"
        return given | {"backend": "torch", "pairwise": pairwise, "output_first": first}
    return given | {"rows": max(batch_sizes), "length": length}


def wrong_lengths(found: Pass, prompts: Prompts) -> str | None:
    """How many answers are not as long as they have to be; None where all are."""
    wrong = sum(answer["tokens"] != prompts.new_tokens for answer in found.answers)
    if wrong or len(found.answers) != len(prompts):
        return (
            f"{wrong} of {len(found.answers)} answers do not have {prompts.new_tokens} tokens; {len(prompts)} were asked for"
        )
    return None


def empty_inputs(folder: Path) -> Path:
    """For a worker that needs none."""
    path = folder / "none.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"references": [], "outputs": []}), encoding="utf-8")
    return path
