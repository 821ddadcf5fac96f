"""Where things lie, and what every contestant of a row is: one table per kind of model, data only.

To measure another setting, add a line here; nothing else knows the list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = REPOSITORY / "benches/peers"
DATASETS = REPOSITORY / "datasets"
RESULTS_TABLE = REPOSITORY / "benches/RESULTS.md"
# The packages of requirements-onnx.txt, laid over the environment of the harness.
ONNX_OVERLAY = REPOSITORY / ".venv/peers-onnx"

BI_ENCODER = "sts_minilm_l6"
CROSS_ENCODER = "ce_minilm_untrained"

# What ours and the peers' scores must agree in.
F32_TOLERANCE = 1e-4
REDUCED_SPEARMAN = 0.995


@dataclass(frozen=True)
class Variant:
    """poq with options of `poq score`."""

    provider: str
    precision: str

    @property
    def options(self) -> list[str]:
        """As they stand on the command line."""
        return ["--provider", self.provider, "--precision", self.precision]


# Ours in a row is the fastest of its precision; what is reduced must also keep the order of the f32 scores.
OURS = (Variant("openvino", "f32"), Variant("cpu", "f32"), Variant("openvino", "bf16"), Variant("openvino", "int8"), Variant("cpu", "int8"))
# What the scores of a reduced variant are held against.
OURS_REFERENCE = Variant("cpu", "f32")


@dataclass(frozen=True, eq=False)
class Peer:
    """A tool with its model loaded once, measured at several batch sizes."""

    module: str
    description: str
    batch_sizes: tuple[int, ...]
    options: dict = field(default_factory=dict)
    precision: str = "f32"
    overlay: Path | None = None


SENTENCE_TRANSFORMERS = ST = "sentence_transformers_worker"
BF16 = {"INFERENCE_PRECISION_HINT": "bf16"}
F32 = {"INFERENCE_PRECISION_HINT": "f32"}
TORCH = Peer(ST, "torch f32", (32, 8), {"backend": "torch"})

BI_ENCODER_PEERS = (
    TORCH,
    Peer(ST, "torch bf16", (32, 8), {"backend": "torch", "dtype": "bfloat16"}, "reduced"),
    Peer(ST, "OpenVINO backend, f32", (32, 16, 8, 4), {"backend": "openvino", "ov_config": F32}),
    Peer(ST, "OpenVINO backend, bf16", (32, 16, 8), {"backend": "openvino", "ov_config": BF16}, "reduced"),
    Peer(ST, "ONNX backend, f32", (32, 8), {"backend": "onnx"}, overlay=ONNX_OVERLAY),
    Peer("fastembed_worker", "f32", (256, 32, 8)),
    Peer("onnxruntime_worker", "plain Python loop, f32, sorted by length", (32, 8)),
)
CROSS_ENCODER_PEERS = (
    TORCH,
    Peer(ST, "OpenVINO backend, f32", (32, 16, 8, 4), {"backend": "openvino", "ov_config": F32}),
    Peer(ST, "ONNX backend, f32", (32, 8), {"backend": "onnx"}, overlay=ONNX_OVERLAY),
    Peer("onnxruntime_worker", "plain Python loop, f32, sorted by length", (32, 8)),
)
# The peer of the reduced rows and the origin of the reference scores: what `encode` and `predict` do unasked.
DEFAULT_PEER = (TORCH, 32)
