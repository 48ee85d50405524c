"""The residual stream from token to prediction, layer by layer."""
