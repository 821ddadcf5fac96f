"""The published configurations of models that the recipe is for: read to the last field, and understood.

Those of the paper's models lie in `export/published`; the others here show what those do not.
"""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import published
from poq_export.families import describe

TINYLLAMA, QWEN2_1_5B, GEMMA2_2B, PHI3_MINI_4K, LLAMA_3_2_3B = (
    published.document(key)
    for key in ("tinyllama_1_1b", "qwen2_1_5b", "gemma_2_2b_it", "phi3_mini_4k", "llama_3_2_3b")
)
SHARED: dict[str, Any] = {
    "attention_dropout": 0.0, "initializer_range": 0.02, "torch_dtype": "bfloat16", "transformers_version": "4.45.0",
    "use_cache": True,
}  # fmt: skip
LLAMA_3_2_1B = SHARED | {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 128000, "eos_token_id": 128001,
    "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
    "max_position_embeddings": 131072, "mlp_bias": False, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0, "tie_word_embeddings": True, "vocab_size": 128256,
}  # fmt: skip
QWEN2_7B = SHARED | {
    "architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
    "hidden_size": 3584, "intermediate_size": 18944, "max_position_embeddings": 32768, "max_window_layers": 28,
    "model_type": "qwen2", "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072, "tie_word_embeddings": False,
    "use_sliding_window": False, "vocab_size": 152064,
}  # fmt: skip
GEMMA3_1B = SHARED | {
    "architectures": ["Gemma3ForCausalLM"], "attention_bias": False, "attn_logit_softcapping": None, "bos_token_id": 2,
    "cache_implementation": "hybrid", "eos_token_id": [1, 106], "final_logit_softcapping": None, "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
    "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26,
    "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": 512,
    "sliding_window_pattern": 6, "vocab_size": 262144,
}  # fmt: skip


class Published(unittest.TestCase):
    def test_every_field_is_understood(self) -> None:
        for name, config, positions, head_size, tied, windows in (
            ("tinyllama", TINYLLAMA, 2048, 64, False, {None}),
            ("llama 3.2 1b", LLAMA_3_2_1B, 8192, 64, True, {None}),
            ("llama 3.2 3b", LLAMA_3_2_3B, 131072, 128, True, {None}),
            ("qwen2 1.5b", QWEN2_1_5B, 32768, 128, True, {None}),
            ("qwen2 7b", QWEN2_7B, 32768, 128, False, {None}),
            ("phi3", PHI3_MINI_4K, 4096, 96, False, {2047}),
            ("phi3, short rows", PHI3_MINI_4K, 2047, 96, False, {None}),
            ("gemma2", GEMMA2_2B, 8192, 256, True, {4096, None}),
            ("gemma3", GEMMA3_1B, 8192, 256, True, {512, None}),
        ):
            with self.subTest(name):
                described = describe(config, positions)
                architecture = described.architecture
                self.assertEqual((architecture.head_size, described.tied), (head_size, tied))
                self.assertEqual({layer.window for layer in architecture.layers}, windows)
                self.assertEqual(len(architecture.layers), config["num_hidden_layers"])

    def test_layers_with_a_window_are_the_right_ones(self) -> None:
        gemma2, gemma3 = (describe(config, 8192).architecture.layers for config in (GEMMA2_2B, GEMMA3_1B))
        self.assertEqual([layer.window for layer in gemma2[:4]], [4096, None, 4096, None])
        self.assertEqual([at for at, layer in enumerate(gemma3) if layer.window is None], [5, 11, 17, 23])
        self.assertEqual({layer.rotary for layer in gemma3 if layer.window is None}, {"rotary.global"})

    def test_a_stretched_context_slows_only_the_slow_frequencies(self) -> None:
        """A turn within 2,048 positions is kept, one that takes more than 8,192 is 32 times slower."""
        stretched = describe(LLAMA_3_2_1B, 8192).architecture.rotary["rotary"].frequencies
        plain = describe(LLAMA_3_2_1B | {"rope_scaling": None}, 8192).architecture.rotary["rotary"].frequencies
        turn = 2 * np.pi / plain
        np.testing.assert_array_equal(stretched[turn < 2048], plain[turn < 2048])
        np.testing.assert_allclose(stretched[turn > 8192], plain[turn > 8192] / 32, rtol=1e-6)
        between = (turn > 2048) & (turn < 8192)
        self.assertTrue(between.any())
        self.assertTrue(((stretched < plain) & (stretched > plain / 32))[between].all())


if __name__ == "__main__":
    unittest.main()
