"""fastembed with the same ONNX graph as poq, registered as a custom model."""

from __future__ import annotations

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

from workers.serve import Pass, serve, versions

NAME = "bench/peers"


def load(options: dict) -> tuple[Pass, str]:
    """The graph and its tokenizer from a local folder; nothing is downloaded."""
    TextEmbedding.add_custom_model(
        model=NAME,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="unused: the folder is given"),
        dim=options["dimensions"],
        model_file="model.onnx",
    )
    model = TextEmbedding(NAME, specific_model_path=options["graph_folder"], providers=["CPUExecutionProvider"])

    def embed(pairs: tuple[list[str], list[str]], batch_size: int) -> list[float]:
        references, outputs = (np.array(list(model.embed(texts, batch_size=batch_size))) for texts in pairs)
        return (references * outputs).sum(axis=1).tolist()

    return embed, versions("fastembed", "onnxruntime")


if __name__ == "__main__":
    serve(load)
