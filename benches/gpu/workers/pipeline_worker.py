"""transformers' `pipeline("text-generation")`, as the paper ran it: a model with random weights on the device.

Stop tokens are taken out of the generation configuration, so that every answer is as long as it may be.
"""

from __future__ import annotations

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast, pipeline

from workers.generation import Answer, Prompts, read_prompts, summarise
from workers.serve import Pass, serve, versions


def load(options: dict) -> tuple[Pass, str]:
    """The model is drawn on the device, so that nothing of its size is written or read."""
    folder, device, dtype = options["folder"], torch.device(options["device"]), getattr(torch, options["dtype"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    config = AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    name = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    with device:
        model = AutoModelForCausalLM.from_config(config, **{name: dtype})
    if model.dtype != dtype:
        raise RuntimeError(f"the model is in {model.dtype}, {dtype} was asked for")
    model.eval()
    model.generation_config = GenerationConfig(do_sample=False, pad_token_id=tokenizer.pad_token_id)
    lengths: list[int] = []
    generate = model.generate

    def counted(*arguments: object, **named: object) -> object:
        """What the pipeline calls; it cuts the prompt off later, and never says how many tokens came after it."""
        found = generate(*arguments, **named)
        lengths.extend([found.shape[1] - named["input_ids"].shape[1]] * found.shape[0])
        return found

    model.generate = counted
    answering = pipeline("text-generation", model=model, tokenizer=tokenizer, device=device)

    def run(prompts: Prompts, batch_size: int) -> list[Answer]:
        lengths.clear()
        given = {"do_sample": False, "max_new_tokens": prompts.new_tokens, "return_full_text": False}
        found = answering(prompts.texts, batch_size=batch_size, add_special_tokens=False, **given)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return [Answer(one[0]["generated_text"], range(length)) for one, length in zip(found, lengths, strict=True)]

    return run, f"{versions('transformers', 'torch')}; pipeline, {options['dtype']}"


if __name__ == "__main__":
    serve(load, read=read_prompts, summarise=summarise)
