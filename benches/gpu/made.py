"""The models that are measured: random weights in the published sizes, made here, and a registry that lists them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from process import Unavailable
from settings import REPOSITORY

from . import configurations, random_encoder
from .finding import last_line
from .plan import GENERATE, SUBJECTS, Subject
from .texts import CHAT_TEMPLATE, END, decoder_tokenizer, tokenizer_config

F16_GRAPH = "model.f16.onnx"
RECIPE = "checkpoint_encoder"


class Made:
    """A folder with models, as poq reads it, and the checkpoints and configurations that peers read."""

    def __init__(self, folder: Path, device: str, tiny: bool, runtime: Path) -> None:
        self.models = folder / "models"
        self.checkpoints = folder / "checkpoints"
        self.device = device
        self.tiny = tiny
        self.models.mkdir(parents=True, exist_ok=True)
        link = self.models / runtime.name
        if link.is_symlink():
            link.unlink()
        if not link.exists():
            link.symlink_to(runtime.resolve(), target_is_directory=True)
        self.failures: dict[str, str] = {}

    def precision(self, subject: Subject) -> str:
        """Of the weights on this device: a CPU computes in f32."""
        return subject.precision if self.device == "cuda" else "f32"

    def prepare(self, subject: Subject) -> Path:
        """Make the model unless it is there; returns what peers read. Raises Unavailable, also the next time."""
        if reason := self.failures.get(subject.key):
            raise Unavailable(reason)
        try:
            config = configurations.read(subject.key, self.tiny)
            checkpoint = self.checkpoints / subject.key
            stamp = json.dumps([config, self.precision(subject), CHAT_TEMPLATE], sort_keys=True)
            done = checkpoint / "made.txt"
            if not done.exists() or done.read_text(encoding="utf-8") != stamp:
                shutil.rmtree(checkpoint, ignore_errors=True)
                shutil.rmtree(self.folder(subject), ignore_errors=True)
                self.folder(subject).mkdir(parents=True)
                (self._decoder if subject.stage == GENERATE else self._encoder)(subject, config, checkpoint)
                self._write_manifest(subject)
                done.write_text(stamp, encoding="utf-8")
            self._write_registry()
        except Unavailable as refusal:
            self.failures[subject.key] = str(refusal)
            raise
        except Exception as error:  # whatever an export raises, this model cannot be measured and the others can
            self.failures[subject.key] = f"the model cannot be made: {type(error).__name__}: {error}"
            raise Unavailable(self.failures[subject.key]) from error
        return checkpoint

    def folder(self, subject: Subject) -> Path:
        """Where poq looks for the exported files: decoders for a GPU have a folder of their own."""
        own = subject.stage == GENERATE and self.device == "cuda"
        return self.models / (f"{subject.key}-{subject.precision}" if own else subject.key)

    def _decoder(self, subject: Subject, config: dict[str, Any], checkpoint: Path) -> None:
        """The graph by `poq_export.random_decoder`; tokenizer and template are made here, since none can be fetched."""
        folder = self.folder(subject)
        checkpoint.mkdir(parents=True)
        (checkpoint / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        command = [sys.executable, "-m", "poq_export.random_decoder", str(checkpoint / "config.json"), str(folder)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "export"), os.environ.get("PYTHONPATH", "")])
        }
        done = subprocess.run(
            [*command, "--precision", self.precision(subject), "--positions", str(subject.max_length)],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0 or not (folder / "model.onnx").exists():
            raise Unavailable(f"poq_export.random_decoder: {last_line(done.stderr + done.stdout)}")
        tokenizer = decoder_tokenizer(config["vocab_size"])
        for place in (folder, checkpoint):
            tokenizer.save(str(place / "tokenizer.json"), pretty=False)
            (place / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
        (checkpoint / "tokenizer_config.json").write_text(tokenizer_config(None), encoding="utf-8")

    def _encoder(self, subject: Subject, config: dict[str, Any], checkpoint: Path) -> None:
        """A random checkpoint, and the graphs that the recipe makes of it."""
        from poq_export.recipes import RECIPES
        from poq_export.registry import Export, Model, Scoring

        if RECIPE not in RECIPES:
            raise Unavailable(f"the export has no recipe `{RECIPE}`")
        classify = subject.architecture == "cross_encoder"
        artifacts = random_encoder.write(config, classify, subject.max_length, checkpoint)
        model = Model(
            key=subject.key, pool="paper", role="evaluator", architecture=subject.architecture, precision="f32",
            name=subject.key, upstream="random weights", licence="none", max_length=subject.max_length,
            files=self.files(subject), export=Export(RECIPE, 1.0), artifact=[],
            scoring=Scoring(batch_size=32, **dict(subject.scoring)),
        )  # fmt: skip
        RECIPES[RECIPE].export(model, artifacts, self.folder(subject))

    def files(self, subject: Subject) -> list[str]:
        """Names of the exported files, as the registry lists them."""
        if subject.stage == GENERATE:
            graphs = sorted(path.name for path in self.folder(subject).glob("model.onnx*"))
            return [*(graphs or ["model.onnx"]), "tokenizer.json", "chat_template.jinja"]
        return ["model.onnx", *([F16_GRAPH] if self.device == "cuda" else []), "tokenizer.json"]

    def _write_manifest(self, subject: Subject) -> None:
        folder, listed = self.folder(subject), {}
        for name in self.files(subject):
            path = folder / name
            listed[name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
        content = {"schema_version": 1, "key": subject.key, "files": listed, "artifacts": {}}
        (folder / "manifest.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _write_registry(self) -> None:
        """Every subject, made or not: poq says itself what is not exported."""
        text = "schema_version = 1\n"
        for subject in SUBJECTS.values():
            decoder = subject.stage == GENERATE
            text += f'\n[[model]]\nkey = {json.dumps(subject.key)}\npool = "paper"\n'
            fields = {"role": "inference" if decoder else "evaluator", "architecture": subject.architecture}
            fields |= {
                "precision": "f32",
                "name": f"{subject.key} with random weights",
                "upstream": "none",
                "licence": "none",
            }
            fields |= {"max_length": subject.max_length, "files": self.files(subject)}
            text += lines(fields)
            if decoder:
                text += "[model.decoder]\n" + lines({"chat_template": "chat_template.jinja", "stop_tokens": [END]})
                if self.device == "cuda":
                    export = {"recipe": "checkpoint_decoder", "logit_tolerance": 1.0, "cuda_precision": subject.precision}
                    text += "[model.export]\n" + lines(export)
            else:
                text += "[model.scoring]\n" + lines(dict(subject.scoring) | {"batch_size": 32})
        (self.models / "registry.toml").write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Hash of a file that may not fit into memory."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            found.update(piece)
    return found.hexdigest()


def lines(fields: dict[str, object]) -> str:
    """Strings, numbers and lists of them as TOML, which writes these like JSON."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())
