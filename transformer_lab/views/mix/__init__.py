"""One word, its attention scores, and the mixture that they give."""
