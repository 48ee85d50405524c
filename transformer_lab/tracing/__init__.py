"""Record one forward pass; attention patterns are computed lazily, on access."""
