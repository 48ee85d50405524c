"""One word, its scores, and the mixture that they make."""
