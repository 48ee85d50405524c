"""The whole model at work: what moves from token to token, layer by layer."""
