"""The folders that peers load, made from the weights that poq's own export is made from.

The artifacts come through `poq_export`, held to the hashes of models/registry.toml. Configuration files are written
here, laid out as all-MiniLM-L6-v2 is published, because the artifacts hold only what poq needs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from contest import Unavailable
from poq_export import registry
from poq_export.fetch import FetchError, fetch
from poq_export.registry import RegistryError
from poq_export.untrained import untrained_head
from poq_export.wheels import WheelError, WheelStore
from safetensors.numpy import load_file, save_file

SPECIAL_TOKENS = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
MODULES = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]


def worker_options(key: str, models: Path, folder: Path) -> dict:
    """What workers are told about a model. Raises Unavailable when its weights cannot be had."""
    try:
        return Weights(key, models, folder).options()
    except (FetchError, RegistryError, WheelError, OSError) as error:
        raise Unavailable(f"no weights for the peers: {error}") from error


class Weights:
    """One model of the registry: its artifacts, its exported graph, and the folders made for the peers."""

    def __init__(self, key: str, models: Path, folder: Path) -> None:
        (self.model,) = registry.load(models / "registry.toml").select(None, [key])
        self.exported = models / key
        self.folder = folder / key
        with WheelStore(models / ".cache") as wheels:
            self.artifacts = fetch(self.model, models, models / ".cache", wheels)
        self.config = json.loads(self.artifacts["config.json"].read_text(encoding="utf-8"))

    def options(self) -> dict:
        """What any worker may want to know; each takes what it needs."""
        scoring = self.model.scoring
        pairwise = self.model.architecture == "cross_encoder"
        make = self._cross_encoder if pairwise else self._bi_encoder
        return {
            "pairwise": pairwise,
            "output_first": scoring.order == "output_reference",
            "folder": str(make(self.folder / "sentence-transformers")),
            "graph_folder": str(self._graph_folder(self.folder / "graph")),
            "tokenizer": str(self.exported / "tokenizer.json"),
            "graph": str(self.exported / "model.onnx"),
            "output": scoring.output,
            "max_length": self.model.max_length,
            "dimensions": self.config["hidden_size"],
        }

    def _bi_encoder(self, folder: Path) -> Path:
        """A folder for SentenceTransformer: transformer, mean pooling, vectors of length one."""
        self._write_common(folder, self.config)
        modules = [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (path, kind) in enumerate(MODULES)
        ]
        pooling = {"word_embedding_dimension": self.config["hidden_size"], "pooling_mode_mean_tokens": True}
        write_json(folder / "modules.json", modules)
        length = {"max_seq_length": self.model.max_length, "do_lower_case": False}
        write_json(folder / "sentence_bert_config.json", length)
        write_json(folder / "1_Pooling/config.json", pooling)
        (folder / "2_Normalize").mkdir()
        (folder / "model.safetensors").symlink_to(self.artifacts["model.safetensors"].resolve())
        return folder

    def _cross_encoder(self, folder: Path) -> Path:
        """A folder for CrossEncoder: the encoder with the untrained head that the export gives it, and raw logits."""
        labels = len(self.model.scoring.labels or ["score"])
        weight, bias = untrained_head(self.config["hidden_size"], labels)
        weights = load_file(self.artifacts["model.safetensors"]) | {
            "classifier.weight": weight,
            "classifier.bias": bias,
        }
        weights.pop("embeddings.position_ids", None)  # 0, 1, 2, …: saved by old releases, never learnt
        names = {name: name if name.startswith("classifier.") else f"bert.{name}" for name in weights}
        config = self.config | {
            "architectures": ["BertForSequenceClassification"],
            "id2label": {str(index): f"LABEL_{index}" for index in range(labels)},
            "label2id": {f"LABEL_{index}": index for index in range(labels)},
            "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
        }
        self._write_common(folder, config)
        save_file(
            {names[name]: array for name, array in weights.items()}, folder / "model.safetensors", {"format": "pt"}
        )
        return folder

    def _graph_folder(self, folder: Path) -> Path:
        """The exported graph beside its configuration, as fastembed wants it."""
        self._write_common(folder, self.config)
        (folder / "model.onnx").symlink_to((self.exported / "model.onnx").resolve())
        return folder

    def _write_common(self, folder: Path, config: dict) -> None:
        """A new folder with configuration and tokenizer; the exported tokenizer is the published one, unpadded."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / "config.json", config)
        write_json(folder / "special_tokens_map.json", SPECIAL_TOKENS)
        tokenizer = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": self.model.max_length,
        }
        write_json(folder / "tokenizer_config.json", tokenizer | SPECIAL_TOKENS)
        shutil.copyfile(self.exported / "tokenizer.json", folder / "tokenizer.json")


def write_json(path: Path, value: object) -> None:
    """A configuration file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
