"""The paper's experiment, its registry and its data sets, with tiny checkpoints where the published ones stand.

The files are those of the repository, rewritten as text: a field that is not named here stays as users have it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import tiny_encoders
import tiny_families
from hub_server import HubServer, shard
from poq_export import hashes, recording, registry
from poq_export.registry import tomllib
from poq_export.target import Target
from safetensors.numpy import load_file

REPOSITORY = Path(__file__).resolve().parents[2]
DATASETS = Path(__file__).resolve().parent / "hub_datasets"
FAMILIES = {
    "tinyllama_1_1b": "llama_tied",
    "qwen2_1_5b": "qwen2",
    "gemma_2_2b_it": "gemma2",
    "phi3_mini_4k": "phi3",
    "llama_3_2_3b": "llama_both",
}
ENCODERS = {"ce_minilm": "bert", "ce_deberta": "deberta", "sts_stsb": "roberta"}
RECORDS = 12  # in each data set
SAMPLE = 8  # of them asked, with either
EXPERIMENT = {
    "max_new_tokens": 12, "n_group": 3, "samples": 3, "evaluator_samples": 8, "warmup": 1,
    "rounds": 200, "replicates": 4,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Published:
    """A repository of the hub on this machine."""

    folder: Path
    commit: str
    facts: dict[str, Any]  # what the registry has to say otherwise of a tiny checkpoint


def fields(text: str, replaced: dict[str, Any], where: str) -> str:
    """The text with other values of fields; each must be there exactly once."""
    for name, value in replaced.items():
        text, count = re.subn(rf"(?m)^{name} = .*?(?=$| +#)", lambda _, name=name, value=value: f"{name} = {value}", text)
        if count != 1:
            raise AssertionError(f"{where} has the field `{name}` {count} times")
    return text


def entries(text: str) -> list[str]:
    """What stands before the first `[[model]]` or `[[dataset]]`, and each of them."""
    return re.split(r"(?m)^(?=\[\[(?:model|dataset)\]\]$)", text)


def key_of(entry: str) -> str | None:
    """Key of one of these."""
    found = re.search(r'(?m)^key = "([^"]+)"', entry)
    return found and found[1]


def publish(hub: HubServer, scratch: Path) -> dict[str, Published]:
    """Serve a tiny checkpoint for every model of the pool, under its own repository and in its own files; by key."""
    text = (REPOSITORY / "models/registry.toml").read_text(encoding="utf-8")
    found = {}
    for entry in tomllib.loads(text)["model"]:
        if entry["pool"] != "paper":
            continue
        key, folder = entry["key"], scratch / "published" / entry["key"]
        if key in FAMILIES:
            tiny = tiny_families.FAMILIES[FAMILIES[key]]
            tiny_families.write(tiny, folder)
            facts = decoder_facts(tiny)
        else:
            tiny_encoders.write(tiny_encoders.ENCODERS[ENCODERS[key]], folder)
            facts = {}
        check_recorded(key, folder)
        facts["parameters"] = sum(array.size for array in load_file(folder / "model.safetensors").values())
        if any(artifact["name"].endswith(".index.json") for artifact in entry["artifact"]):
            shard(folder)
        found[key] = Published(folder, hub.add(entry["upstream"], folder, gated=entry.get("gated", False)), facts)
    return found


def recorded(key: str) -> dict[str, Any]:
    """What transformers said of the tiny checkpoint that stands for a model."""
    name = FAMILIES.get(key) or ENCODERS[key]
    return json.loads((REPOSITORY / f"export/references/tiny_{name}.json").read_text(encoding="utf-8"))


def check_recorded(key: str, folder: Path) -> None:
    """The committed recording was made from the very files that are published."""
    for name, sha256 in recorded(key)["artifacts"].items():
        if hashes.sha256(folder / name) != sha256:
            raise AssertionError(f"the recording of `{key}` was not made from this `{name}`")


def decoder_facts(tiny: tiny_families.Tiny) -> dict[str, Any]:
    """The context and the tokens of a tiny decoder, as TOML."""
    tokens = {"stop_tokens": '["<|im_end|>", "<|endoftext|>"]', "eos_token": '"<|im_end|>"', "bos_token": '"<|im_start|>"'}
    return {"max_length": tiny.positions} | tokens


def rewritten_registry(published: dict[str, Published]) -> str:
    """`models/registry.toml` with the commits, sizes, hashes and facts of what is published here."""
    parts = entries((REPOSITORY / "models/registry.toml").read_text(encoding="utf-8"))
    return "".join(_model(part, published[key]) if (key := key_of(part)) in published else part for part in parts)


def _model(entry: str, published: Published) -> str:
    facts = dict(published.facts)
    if "bos_token" in facts and "\nbos_token = " not in entry:  # Qwen2 has none, every tiny decoder has one
        facts["eos_token"] += f"\nbos_token = {facts.pop('bos_token')}"
    head, *artifacts = re.split(r"(?m)^(?=\[\[model\.artifact\]\]$)", entry)
    return fields(head, facts, "a model") + "".join(_artifact(artifact, published) for artifact in artifacts)


def _artifact(entry: str, published: Published) -> str:
    path = published.folder / re.search(r'(?m)^file = "([^"]+)"', entry)[1]
    real = {"bytes": path.stat().st_size, "sha256": f'"{hashes.sha256(path)}"', "revision": f'"{published.commit}"'}
    return fields(entry, {name: value for name, value in real.items() if f"\n{name} = " in entry}, "an artifact")


def publish_datasets(hub: HubServer, scratch: Path) -> str:
    """Serve both data sets in the hub's columns; returns `datasets/registry.toml` with what is published here."""
    text = (REPOSITORY / "datasets/registry.toml").read_text(encoding="utf-8")
    parts = entries(text)
    for number, part in enumerate(parts):
        source = {"squad_v1_1_dev_parquet": "squad", "cnn_dailymail_3_0_0_test": "cnn_dailymail"}.get(key_of(part))
        if source is None:
            continue
        place = tomllib.loads(part)["dataset"][0]["fetch"][0]
        path = scratch / "published" / place["repo"] / place["file"]
        path.parent.mkdir(parents=True)
        path.write_bytes((DATASETS / f"{source}.parquet").read_bytes())
        facts = {"revision": f'"{hub.add(place["repo"], scratch / "published" / place["repo"], kind="dataset")}"'}
        facts |= {"sha256": f'"{hashes.sha256(path)}"'} if "\nsha256 = " in part else {}
        parts[number] = fields(part, facts, "a data set")
    return "".join(parts)


def rewritten_experiment() -> str:
    """`experiments/paper.toml` on the CPU, on fewer records, with SQuAD from the hub."""
    text = fields((REPOSITORY / "experiments/paper.toml").read_text(encoding="utf-8"), EXPERIMENT, "the experiment")
    text = text.replace('"squad_v1_1_dev"', '"squad_v1_1_dev_parquet"')
    for name, paper, here in (("provider", '"cuda"', '"cpu"'), ("sample", "200", SAMPLE)):  # LLMs, evaluators; two data sets
        text, count = re.subn(rf"\b{name} = {paper}", f"{name} = {here}", text)
        if count != 2:
            raise AssertionError(f"the experiment has `{name} = {paper}` {count} times")
    return text


def lay_references(models: Path) -> None:
    """Put what transformers said of the tiny checkpoints where an earlier export would have left it."""
    for model in registry.load(models / "registry.toml").select("paper", []):
        content, target = recorded(model.key), Target.of(model, "cpu")
        place = target.directory(model, models) / recording.NAME
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(content | recording.tied_to(model, target)), encoding="utf-8")
