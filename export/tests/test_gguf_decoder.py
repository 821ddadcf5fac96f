"""The GGUF recipe on the tiny checkpoints, written as GGUF files: the same numbers, whatever the weights were read from."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import tiny_families
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter
from gguf.quants import quantize
from poq_export.decoder_gate import Gate
from poq_export.decoder_graph import DecoderGraph
from poq_export.families import describe
from poq_export.gguf_decoder import GgufTensors, check_tensors, read_architecture
from poq_export.gguf_file import GgufError, GgufFile
from poq_export.registry import Artifact, Decoder, Export, Model, PathSource
from tiny_families import FAMILIES, Tiny

REFERENCES = Path(__file__).resolve().parents[1] / "references"


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys with the halves of each head shuffled into pairs, as the converter to GGUF does for llama."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def write(tiny: Tiny, path: Path, matrices: Kind, extra: tuple[str, ...] = ()) -> None:
    """A tiny checkpoint as a GGUF file without a tokenizer, its matrices in one format."""
    kind, config = tiny.config["model_type"], tiny.config
    described, stored = describe(config, tiny.positions), tiny_families.weights(tiny)
    writer = GGUFWriter(path, kind)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(tiny.positions)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(described.architecture.kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    for name, place in described.places.items():
        values = stored[place.name]
        if kind == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            heads = described.architecture.heads if "attn_q" in name else described.architecture.kv_heads
            values = interleaved(values, heads)
        if values.ndim == 2 and matrices != Kind.F32:
            writer.add_tensor(name, quantize(values, matrices), raw_dtype=matrices)
        else:
            writer.add_tensor(name, values)
    for name in extra:
        writer.add_tensor(name, np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def model(tiny: Tiny) -> Model:
    """A registry entry, as far as the gate reads it."""
    return Model(
        key=tiny.key, pool="none", role="inference", architecture="decoder", precision="f32", name=tiny.key, upstream="none",
        licence="MIT", max_length=tiny.positions, files=["model.onnx"], export=Export("gguf_decoder", 2e-4, "none"),
        artifact=[Artifact("none", "none", [PathSource("none")])], decoder=Decoder("none", [], "none"),
    )  # fmt: skip


class GgufDecoder(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def build(self, tiny: Tiny, matrices: Kind, keep_blocks: bool, extra: tuple[str, ...] = ()) -> Path:
        """The graph of a tiny checkpoint that went through a GGUF file."""
        write(tiny, self.folder / "weights.gguf", matrices, extra)
        file = GgufFile(self.folder / "weights.gguf")
        architecture, tensors = read_architecture(file), GgufTensors(file, keep_blocks)
        check_tensors(architecture, tensors)
        builder = DecoderGraph(architecture, tensors, share_table=False)
        builder.build()
        builder.graph.save(self.folder / "model.onnx", external=False)
        return self.folder / "model.onnx"

    def test_llama_and_qwen2_say_what_the_reference_says(self) -> None:
        for name in ("llama_tied", "qwen2"):
            with self.subTest(name):
                tiny = FAMILIES[name]
                recording = json.loads((REFERENCES / f"{tiny.key}.json").read_text(encoding="utf-8"))
                figures = Gate(model(tiny), recording).run(self.build(tiny, Kind.F32, keep_blocks=False))
                self.assertGreater(figures["greedy_agreement"], 0.9)

    def test_kept_blocks_include_the_head_and_the_embedding(self) -> None:
        for name in ("qwen2", "llama_tied"):
            with self.subTest(name):
                kinds = [node.op_type for node in onnx.load(self.build(FAMILIES[name], Kind.Q8_0, True)).graph.node]
                self.assertEqual((kinds.count("MatMul"), kinds.count("Gemm"), kinds.count("Gather")), (0, 0, 0))
                self.assertEqual(kinds[-2:], ["MatMulNBits", "Identity"])

    def test_a_tensor_that_would_be_ignored_is_refused_by_name(self) -> None:
        with self.assertRaisesRegex(GgufError, "`rope_freqs.weight`"):
            self.build(FAMILIES["qwen2"], Kind.F32, False, extra=("rope_freqs.weight",))


if __name__ == "__main__":
    unittest.main()
