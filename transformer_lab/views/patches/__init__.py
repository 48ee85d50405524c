"""A picture, what a patch of it looks at, and whether that matters."""
