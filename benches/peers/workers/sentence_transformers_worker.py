"""sentence-transformers as its users call it: `encode` on both lists and the pairs' cosine, or `predict` on pairs."""

from __future__ import annotations

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.util import pairwise_cos_sim

from workers.serve import Pass, serve, versions

PACKAGES = {
    "torch": ("sentence-transformers", "transformers", "torch"),
    "openvino": ("sentence-transformers", "optimum-intel", "openvino"),
    "onnx": ("sentence-transformers", "transformers", "optimum-onnx", "onnxruntime"),
}


def load(options: dict) -> tuple[Pass, str]:
    """The model on its backend, on the CPU unless told otherwise."""
    backend = options["backend"]
    arguments: dict = {}
    if "dtype" in options:
        arguments["torch_dtype"] = getattr(torch, options["dtype"])
    if "ov_config" in options:
        arguments["ov_config"] = options["ov_config"]
    if backend == "onnx":
        arguments["provider"] = "CPUExecutionProvider"
    kind = CrossEncoder if options["pairwise"] else SentenceTransformer
    model = kind(options["folder"], device=options.get("device", "cpu"), backend=backend, model_kwargs=arguments)
    if backend == "torch" and "dtype" in options and (found := next(model.parameters()).dtype) != arguments["torch_dtype"]:
        raise RuntimeError(f"the model is in {found}, {options['dtype']} was asked for")

    def encode(pairs: tuple[list[str], list[str]], batch_size: int) -> list[float]:
        references, outputs = (model.encode(texts, batch_size=batch_size) for texts in pairs)
        return pairwise_cos_sim(references, outputs).tolist()

    def predict(pairs: tuple[list[str], list[str]], batch_size: int) -> list[float]:
        references, outputs = pairs
        first, second = (outputs, references) if options["output_first"] else (references, outputs)
        return model.predict(list(zip(first, second)), batch_size=batch_size).tolist()

    return predict if options["pairwise"] else encode, versions(*PACKAGES[backend])


if __name__ == "__main__":
    serve(load)
