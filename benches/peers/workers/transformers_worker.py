"""transformers from the GGUF file, which it dequantises itself: `generate` on batches of similar length, or its continuous
batching, `generate_batch`, which shares prefixes among the prompts of a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from workers.generation import Answer, Prompts, answers, in_batches, read_prompts, summarise
from workers.serve import Pass, serve, versions

Generate = Callable[[list[list[int]]], list[list[int]]]


def load(options: dict) -> tuple[Pass, str]:
    """The model in one precision, on the CPU, with the attention that transformers chooses unless told."""
    tokenizer = Tokenizer.from_file(options["tokenizer"])
    stop_ids = [tokenizer.token_to_id(token) for token in options["stop_tokens"]]
    gguf = Path(options["gguf"])
    arguments = {"attn_implementation": options["attention"]} if "attention" in options else {}
    dtype = getattr(torch, options["dtype"])
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=dtype, **arguments)
    model.eval()

    def batched(new_tokens: int) -> Generate:
        def generate(rows: list[list[int]]) -> list[list[int]]:
            width = max(map(len, rows))
            padding = [width - len(row) for row in rows]
            ids = torch.tensor([[stop_ids[0]] * missing + row for missing, row in zip(padding, rows)])
            mask = torch.tensor([[0] * missing + [1] * len(row) for missing, row in zip(padding, rows)])
            found = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                min_new_tokens=new_tokens,
                max_new_tokens=new_tokens,
                eos_token_id=stop_ids,
                pad_token_id=stop_ids[0],
            )
            return found[:, width:].tolist()

        return generate

    def continuous(new_tokens: int) -> Generate:
        """It knows no least number of new tokens; without a stop token it goes on as long."""
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=new_tokens,
            suppress_tokens=stop_ids,
            eos_token_id=-1,
            pad_token_id=stop_ids[0],
        )
        batching = ContinuousBatchingConfig(**options["continuous"])

        def generate(rows: list[list[int]]) -> list[list[int]]:
            found = model.generate_batch(rows, config, batching, progress_bar=False)
            if len(found) < len(rows):
                raise RuntimeError(f"{len(rows) - len(found)} of {len(rows)} requests have no result")
            return [request.generated_tokens for request in found.values()]  # in the order of the prompts

        return generate

    def run(prompts: Prompts, batch_size: int) -> list[Answer]:
        generate = (continuous if "continuous" in options else batched)(prompts.new_tokens)
        tokenised = [row.ids for row in tokenizer.encode_batch_fast(prompts.texts, add_special_tokens=False)]
        return answers(tokenizer, in_batches(tokenised, batch_size, generate))

    return run, versions("transformers", "torch")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
