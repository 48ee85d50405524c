"""Activation patching: which parts of a model carry the answer from one prompt to another."""
