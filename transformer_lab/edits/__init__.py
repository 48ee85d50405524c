"""Changes to a forward pass: what they are, how they are hung on a model, and many of them at once."""
