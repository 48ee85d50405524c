"""The whole model at work: what moves between tokens, layer by layer."""
