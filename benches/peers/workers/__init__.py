"""Processes that hold one peer each; `serve` is what they share."""
