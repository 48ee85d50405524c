"""Embeddings and the residual stream as a cloud of points."""
