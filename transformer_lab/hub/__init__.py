"""Which network a model is, and any Hugging Face model through the seam of attention."""
