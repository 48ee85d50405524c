"""Training in a page: the engine's backward pass, and a page that shows a model learning."""
