"""Exports the models of `models/registry.toml` to ONNX. See export/README.md."""
