"""Edits of a forward pass: what they are, how they are applied to a model, and sweeps over many."""
