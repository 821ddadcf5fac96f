"""A hub with tiny checkpoints, a registry that names them, and `python -m poq_export` run against both."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import tiny_families
from hub_server import HubServer, shard
from poq_export import hashes

EXPORT = Path(__file__).resolve().parent.parent
OWN = {"PATH": os.environ["PATH"], "PYTHONPATH": str(EXPORT), "LANG": "C.UTF-8", "HF_HUB_DISABLE_TELEMETRY": "1"}

HEADER = """
schema_version = 1
[runtime]
package = "onnxruntime"
version = "0"
[runtime.cuda]
package = "onnxruntime-gpu"
version = "0"
"""
MODEL = """
[[model]]
key = "{key}"
pool = "paper"
role = "inference"
architecture = "decoder"
precision = "f32"
name = "{key}"
upstream = "{repo}"
licence = "other"
gated = {gated}
parameters = {parameters}
max_length = 256
files = ["model.onnx", "tokenizer.json", "chat_template.jinja"]
[model.decoder]
chat_template = "chat_template.jinja"
stop_tokens = ["<|im_end|>", "<|endoftext|>"]
bos_token = "<|im_start|>"
eos_token = "<|im_end|>"
[model.export]
recipe = "checkpoint_decoder"
logit_tolerance = 0.001
quantization = "none"
cuda_precision = "bf16"
"""
ARTIFACT = """
[[model.artifact]]
name = "{name}"
{extra}
source = [{{ kind = "hub", repo = "{repo}", revision = "{revision}", file = "{name}" }}]
"""


@dataclasses.dataclass
class Ran:
    """What a run of the command line came to."""

    code: int
    said: str


class HubCase(unittest.TestCase):
    """Each test has a hub, a cache, a models directory and a data sets directory of its own."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.hub = HubServer()
        self.addCleanup(self.hub.close)
        self.models, self.sets, self.cache = (self.scratch / name for name in ("models", "datasets", "home"))
        for provider in ("runtime", "runtime-cuda"):  # in place, so that nothing is fetched with pip
            (self.models / provider).mkdir(parents=True)
            (self.models / provider / "libonnxruntime.so").touch()
        (self.models / "runtime/version.txt").write_text("onnxruntime==0\n")
        (self.models / "runtime-cuda/version.txt").write_text("onnxruntime-gpu==0\n")
        self.sets.mkdir()
        (self.sets / "registry.toml").write_text("schema_version = 1\n")
        self.entries = HEADER
        self.said: list[str] = []

    def checkpoint(
        self, family: str, sharded: bool = False, gated: bool = False, parameters: int = 250_000, hashed: bool = False
    ) -> str:
        """Publish a family's tiny checkpoint as `tiny/<family>` and list it under its recording's key; returns the commit.

        With `hashed` the registry gives hashes of its own.
        """
        folder = self.scratch / "published" / family
        tiny_families.write(tiny_families.FAMILIES[family], folder)
        if sharded:
            shard(folder)
        repo = f"tiny/{family}"
        commit = self.hub.add(repo, folder, gated=gated)
        self.entries += MODEL.format(key=f"tiny_{family}", repo=repo, gated=str(gated).lower(), parameters=parameters)
        for path in sorted(folder.iterdir()):
            own = f'sha256 = "{hashes.sha256(path)}"' if hashed else ""
            self.list_file(repo, commit, path.name, f"bytes = {path.stat().st_size}\n{own}")
        return commit

    def list_file(self, repo: str, revision: str, name: str, extra: str = "") -> None:
        """One more artifact of the model that was listed last."""
        self.entries += ARTIFACT.format(repo=repo, revision=revision, name=name, extra=extra)

    program = ("-m", "poq_export")

    def run_export(self, *arguments: str, token: bool = False, **settings: str) -> Ran:
        """`python -m poq_export` on what was listed so far; no output may hold the token or a signed address."""
        (self.models / "registry.toml").write_text(self.entries)
        own = OWN | {"HF_ENDPOINT": self.hub.address, "HF_HOME": str(self.cache)} | settings
        own |= {"HF_TOKEN": self.hub.token} if token else {}
        command = [sys.executable, *self.program, "--models-dir", str(self.models), "--datasets-dir", str(self.sets)]
        done = subprocess.run([*command, *arguments], env=own, capture_output=True, text=True, cwd=self.scratch)
        said = done.stdout + done.stderr
        for secret in (self.hub.token, own.get("HF_TOKEN", self.hub.token), "Signature="):
            self.assertNotIn(secret, said)
        self.assertNotIn("Traceback", said)
        return Ran(done.returncode, said)

    def fetch(self, *arguments: str, **settings: str) -> Ran:
        """Fetch the pool and export nothing."""
        return self.run_export("--pool", "paper", "--fetch-only", *arguments, **settings)

    def fetched(self, name: str) -> list[Path]:
        """Files of this name in snapshots of the client's cache."""
        return sorted(self.cache.glob(f"hub/*/snapshots/*/{name}"))

    def left_over(self) -> list[Path]:
        """Unfinished downloads."""
        return sorted(self.cache.glob("hub/*/blobs/*.poq.part"))
