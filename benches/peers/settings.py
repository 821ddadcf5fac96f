"""Where things lie, and what every contestant of a row is: one table per kind of model, data only.

To measure another setting, add a line here; nothing else knows the list.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = REPOSITORY / "benches/peers"
DATASETS = REPOSITORY / "datasets"
RESULTS_TABLES = REPOSITORY / "benches"
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
    # What `batch_sizes` are sizes of; empty where there is nothing to size.
    size_name: str = "batch"


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

# Generation: SmolLM2-135M-Instruct from one 4-bit GGUF file, questions on passages, greedy, answers of one length.
# What the peers load is the artifact of this model; ours are whichever of the variants the registry has.
DECODER = "smollm2_135m"
OUR_DECODERS = {"smollm2_135m": "f32", "smollm2_135m_int8": "int8", "smollm2_135m_int4": "int4"}
OUR_BATCH_SIZES = (8, 16, 32, 64)
# Beside these `[generation]` has its defaults.
GENERATION = {"temperature": 0}
# The default `generation.qa_prompt` of src/settings.rs; what poq rendered is compared with what the peers were given.
QA_PROMPT = (
    "Answer the question with a short phrase taken from the passage.\n\nPassage: {context}\n\nQuestion: {question}"
)
QUESTIONS_PER_PASSAGE = 5
# Makes prompts of 177 tokens on average, 150 to 213.
PASSAGE_WORDS = 80
# Share of prompts that two f32 tools must answer alike, word for word.
SAME_TEXTS = 0.9

TRANSFORMERS = "transformers_worker"
LLAMA_CPP, LLAMA_CPP_BATCH = "llama_cpp_worker", "llama_cpp_batch_worker"
GENAI, OPENVINO_GENAI = "onnxruntime_genai_worker", "openvino_genai_worker"
FLOAT32, BFLOAT16 = {"dtype": "float32"}, {"dtype": "bfloat16"}
EAGER = {"attention": "eager"}
# Blocks enough for every key and value of 160 prompts and answers; small ones, so that a passage fills some.
CONTINUOUS = {"attention": "paged|sdpa", "continuous": {"block_size": 32, "num_blocks": 1536, "max_batch_tokens": 256}}
CACHED, NOT_CACHED = {"enable_prefix_caching": True}, {"enable_prefix_caching": False}
LARGER_STEPS = {"max_num_batched_tokens": 1024}
WHOLE_PROMPTS = {"dynamic_split_fuse": False, "max_num_batched_tokens": 4096}

GENERATION_PEERS = (
    Peer(TRANSFORMERS, "f32", (8, 32, 160), FLOAT32),
    Peer(TRANSFORMERS, "f32, eager attention", (32,), FLOAT32 | EAGER),
    Peer(TRANSFORMERS, "f32, continuous batching", (160,), FLOAT32 | CONTINUOUS),
    Peer(TRANSFORMERS, "bf16", (8, 32, 160), BFLOAT16, "bf16"),
    Peer(TRANSFORMERS, "bf16, eager attention", (32,), BFLOAT16 | EAGER, "bf16"),
    Peer(TRANSFORMERS, "bf16, continuous batching", (160,), BFLOAT16 | CONTINUOUS, "bf16"),
    Peer(LLAMA_CPP, "the GGUF as it is, longest common prefix reused", (1,), {"context": 512}, "int4"),
    Peer(LLAMA_CPP_BATCH, "the GGUF as it is, C interface", (8, 16, 32), {"context": 512}, "int4"),
    # Batches of more than 32 are refused.
    Peer(GENAI, "poq's f32 graph", (8, 32), {"model": "smollm2_135m"}),
    Peer(GENAI, "poq's 4-bit graph", (8, 32), {"model": "smollm2_135m_int4"}, "int4"),
    Peer(OPENVINO_GENAI, "the GGUF as it is, prefix caching", (8, 32, 160), {"scheduler": CACHED}, "int4"),
    Peer(
        OPENVINO_GENAI,
        "the GGUF as it is, prefix caching, 1024 tokens per step",
        (160,),
        {"scheduler": CACHED | LARGER_STEPS},
        "int4",
    ),
    Peer(
        OPENVINO_GENAI,
        "the GGUF as it is, prefix caching, f32 arithmetic",
        (160,),
        {"scheduler": CACHED, "properties": F32},
        "int4",
    ),
    Peer(
        OPENVINO_GENAI,
        "f16 copy of the GGUF, prefix caching, bf16 arithmetic",
        (32, 160),
        {"weights": "gguf_f16", "scheduler": CACHED, "properties": BF16},
        "bf16",
    ),
    Peer(
        OPENVINO_GENAI,
        "f16 copy of the GGUF, prefix caching, f32 arithmetic",
        (32, 160),
        {"weights": "gguf_f16", "scheduler": CACHED, "properties": F32},
    ),
    Peer(
        OPENVINO_GENAI,
        "the GGUF as it is, prefix caching, prompts not split over steps",
        (160,),
        {"scheduler": CACHED | WHOLE_PROMPTS},
        "int4",
    ),
    Peer(OPENVINO_GENAI, "the GGUF as it is, no prefix caching", (160,), {"scheduler": NOT_CACHED}, "int4"),
)

# Simulation: the paper's size. Latencies make the costs of Table 4; evaluators only lend their names.
RECORDS = 400
INFERENCE_LATENCIES = {"node_a": 1077.7, "node_b": 1108.0, "node_c": 1470.1, "node_d": 2320.6, "node_e": 2409.3}
EVALUATOR_LATENCIES = {"sts_minilm_l6": 0.93, "ce_minilm_untrained": 0.965, "ce_nli_deberta": 5.9}
REPLICATES = 20

NUMPY, PYTHON = "numpy_worker", "python_worker"
BY_COUNTS, BY_REWARDS = "counts", "rewards"
# Rounds drawn and paid at once.
CHUNKS = (2**14, 2**16, 2**18)
CORES = len(os.sched_getaffinity(0))
HELPERS = (("threads", 1), ("threads", CORES), ("processes", CORES))
# Most rounds that are kept for their quantiles at once: from what stays in a cache to what takes about a second.
PASSES = (20_000_000, 4_000_000, 1_000_000)
# How a round is drawn. Masked words are the fastest; MT19937, PCG64DXSM and sorting instead of `bincount` were slower.
DRAWS = (("int64", "PCG64"), ("uint16", "PCG64"), ("masked", "PCG64"), ("masked", "SFC64"))
DRAW_NAMES = {"int64": "64-bit integers", "uint16": "16-bit integers", "masked": "11 bits, those above 1999 left out"}


def numpy_peer(
    method: str, way: str, draw: tuple[str, str], helpers: tuple[str, int], most_rounds: int | None = None
) -> Peer:
    """One way to simulate with NumPy. `most_rounds` bounds a pass where it would take for ever, or too much memory."""
    (kind, number), (form, generator) = helpers, draw
    side = f"{number} {kind}" if number > 1 else "1 thread"
    options = {"method": method, "most_rounds": most_rounds, "draw": form, "generator": generator}
    options |= {"helpers": kind, "number": number}
    description = f"{way}, {generator} in {DRAW_NAMES[form]}, {side}"
    return Peer(NUMPY, description, CHUNKS, options, "f64", size_name="chunk")


SIMULATION_PEERS = (
    *(numpy_peer(BY_COUNTS, "outcomes counted", draw, helpers) for draw in DRAWS for helpers in HELPERS),
    *(
        numpy_peer(BY_REWARDS, f"all paid, {most:,} a pass", draw, ("threads", number), most)
        for draw in DRAWS[:2]  # masked words leave rounds out, and here every one is settled where it is drawn
        for number in (1, CORES)
        for most in PASSES
    ),
    Peer(PYTHON, "a loop over the rounds, dictionaries", (1,), {"divisor": 5000}, "f64", size_name=""),
)
