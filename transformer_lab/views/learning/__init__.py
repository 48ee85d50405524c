"""Training in a page: the engine's forward pass backwards, and a page that shows a model learning."""
