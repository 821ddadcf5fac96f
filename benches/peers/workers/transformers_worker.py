"""transformers' `generate` on batches of similar length, from the GGUF file, dequantised by transformers itself."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from workers.generation import Answer, Prompts, answers, in_batches, read_prompts, summarise
from workers.serve import Pass, serve, versions


def load(options: dict) -> tuple[Pass, str]:
    """The model in one precision, on the CPU, with the attention that transformers chooses unless told."""
    tokenizer = Tokenizer.from_file(options["tokenizer"])
    stop_ids = [tokenizer.token_to_id(token) for token in options["stop_tokens"]]
    gguf = Path(options["gguf"])
    arguments = {"attn_implementation": options["attention"]} if "attention" in options else {}
    dtype = getattr(torch, options["dtype"])
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=dtype, **arguments)
    model.eval()

    def run(prompts: Prompts, batch_size: int) -> list[Answer]:
        def generate(rows: list[list[int]]) -> list[list[int]]:
            width = max(map(len, rows))
            padding = [width - len(row) for row in rows]
            ids = torch.tensor([[stop_ids[0]] * missing + row for missing, row in zip(padding, rows)])
            mask = torch.tensor([[0] * missing + [1] * len(row) for missing, row in zip(padding, rows)])
            found = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                min_new_tokens=prompts.new_tokens,
                max_new_tokens=prompts.new_tokens,
                eos_token_id=stop_ids,
                pad_token_id=stop_ids[0],
            )
            return found[:, width:].tolist()

        tokenised = [row.ids for row in tokenizer.encode_batch_fast(prompts.texts, add_special_tokens=False)]
        return answers(tokenizer, in_batches(tokenised, batch_size, generate))

    return run, versions("transformers", "torch")


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
