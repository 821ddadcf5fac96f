"""poq as a contestant that simulates: a run of its own tables, `poq simulate` in a fresh copy of it for every pass.

On the clock is the stage as run.json records it: reading the tables of scores and costs, the rounds, the closed form, and
writing `rewards`; no log of rounds, since peers keep none. Peers begin with the network in memory and write nothing.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from contest import Pass, Unavailable
from ours import Engine
from rounds import ALPHA, BETA, SEED, Earned, Network, Played, Rounds
from settings import EVALUATOR_LATENCIES, INFERENCE_LATENCIES, RECORDS, REPLICATES

RUN = "simulate"
# poq's columns of the quantiles, in their order.
QUANTILE_COLUMNS = ("reward_p05", "reward_p50", "reward_p95")


class OursSimulating:
    """poq on a run that is scored and profiled."""

    precision = "f64"

    def __init__(self, engine: Engine, prepared: Path) -> None:
        self.engine = engine
        self.prepared = prepared

    def describe(self) -> str:
        return f"{self.engine.version}, simulate --replicates {REPLICATES}"

    def warm_up(self, rounds: Rounds) -> None:
        """None: every pass is a process of its own."""

    def timed_pass(self, rounds: Rounds) -> Pass:
        run = self.engine.folder / "pass" / self.prepared.name
        shutil.rmtree(run.parent, ignore_errors=True)
        shutil.copytree(self.prepared, run)
        options = {
            "rounds": max(1, len(rounds) // REPLICATES),
            "replicates": REPLICATES,
            "seed": SEED,
            "k": len(EVALUATOR_LATENCIES),
            "alpha": ALPHA,
            "beta": BETA,
            "round-log": "none",
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        begin = time.perf_counter()
        self.engine.run("simulate", str(run), "--format", "json", "--quiet", *flags)
        command_seconds = time.perf_counter() - begin
        stage = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]["simulate"]
        played = Played(stage["details"]["simulated_rounds"], read_rewards(run))
        return Pass(stage["seconds"], played, command_seconds, played.rounds / 1e6)


def prepare(engine: Engine) -> Path:
    """A run of the paper's size, its answers made up and its scores by poq's stand-in for evaluators."""
    chance = random.Random(SEED)
    answers = engine.folder / f"{RUN}.jsonl"
    answers.parent.mkdir(parents=True, exist_ok=True)
    with answers.open("w", encoding="utf-8") as file:
        for record in range(RECORDS):
            for model, latency in INFERENCE_LATENCIES.items():
                output = " ".join(f"word{chance.randrange(1000)}" for _ in range(chance.randint(4, 24)))
                row = {"task_id": f"task_{record:03}", "task_type": "qa", "input": f"question {record}"}
                row |= {"reference": f"answer {record}", "model": model, "output": output, "latency_ms": latency}
                file.write(json.dumps(row) + "\n")
    run = engine.folder / RUN
    shutil.rmtree(run, ignore_errors=True)
    evaluators = [text for key in EVALUATOR_LATENCIES for text in ("--evaluator", key)]
    latencies = [text for key, ms in EVALUATOR_LATENCIES.items() for text in ("--latency", f"{key}={ms}")]
    engine.run("import", str(answers), "--run", RUN, *evaluators, "--quiet")
    engine.run("score", str(run), "--fake-inference", "--quiet")
    engine.run("profile", str(run), *latencies, "--quiet")
    return run


def read_network(run: Path) -> Network:
    """Scores and costs from the run's tables, nodes in the order of the profile. Raises Unavailable if a score is missing."""
    profile = parquet.read_table(run / "profile.parquet", columns=["node_type", "node", "cost_norm"]).to_pylist()
    costs: dict[str, dict[str, float]] = {"inference": {}, "evaluator": {}}
    for row in profile:
        costs[row["node_type"]][row["node"]] = row["cost_norm"]
    models = {model: place for place, model in enumerate(costs["inference"])}
    scores = np.full((RECORDS, len(models), len(costs["evaluator"])), np.nan)
    for place, evaluator in enumerate(costs["evaluator"]):
        table = parquet.read_table(run / "scores" / f"{evaluator}.parquet", columns=["task_id", "model", "normalized"])
        for row in table.to_pylist():
            score = np.nan if row["normalized"] is None else row["normalized"]
            scores[int(row["task_id"].removeprefix("task_")), models[row["model"]], place] = score
    if missing := int(np.isnan(scores).sum()):
        raise Unavailable(f"{missing} of {scores.size} scores are missing")
    return Network(scores, list(costs["inference"].values()), list(costs["evaluator"].values()))


def read_rewards(run: Path) -> tuple[Earned, ...]:
    """What poq says the nodes earned. A column that this poq does not write is None."""
    rows = parquet.read_table(run / "rewards.parquet").to_pylist()

    def earned(row: dict) -> Earned:
        deviation = row.get("std_reward")
        quantiles = tuple(row.get(column) for column in QUANTILE_COLUMNS)
        mean = np.nan if row["avg_reward"] is None else row["avg_reward"]
        return Earned(row["jobs"], mean, None if deviation is None else deviation**2, quantiles)

    return tuple(map(earned, rows))
