"""The worker's side of a timed pass: load once, then answer one request per line until the input ends.

A worker module calls `serve(load)`. Its `load(options)` returns a function that does a whole pass, and says which
packages did it. Only that function is on the clock: reading the inputs and sending the answers are not, nor is
the function's own `prepare(batch_size)`, where it has one.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Pass = Callable[[Any, int], Any]


def versions(*packages: str) -> str:
    """`torch 2.15.0, …` as it is written into the results."""
    return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)


def read_pairs(path: str) -> tuple[list[str], list[str]]:
    """References and outputs."""
    with open(path, encoding="utf-8") as file:
        pairs = json.load(file)
    return pairs["references"], pairs["outputs"]


def serve(
    load: Callable[[dict], tuple[Pass, str]],
    read: Callable[[str], Any] = read_pairs,
    summarise: Callable[[Any], Any] = list,
    units: Callable[[Any], float] | None = None,
) -> None:
    """Load with the options in the first argument and serve requests; whatever goes wrong is the answer.

    `units` says how much work a pass was, where that is not for the inputs to say.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log, not between the answers

    def answer(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        run, description = load(json.loads(sys.argv[1]))
    except Exception as error:  # a tool that does not load is a result
        answer({"failed": reason(error)})
        raise
    answer({"versions": description})
    for line in sys.stdin:
        request = json.loads(line)
        inputs = read(request["inputs"])
        gc.collect()
        try:
            if hasattr(run, "prepare"):
                run.prepare(request["batch_size"])
            begin = time.perf_counter()
            result = run(inputs, request["batch_size"])
            seconds = time.perf_counter() - begin
        except Exception as error:  # likewise
            answer({"failed": reason(error)})
            raise
        work = units(result) if units else None
        answer({"seconds": seconds, "answers": summarise(result), "units": work})
        del result


def reason(error: Exception) -> str:
    """The error in one line."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
