"""The residual stream from token to prediction."""
