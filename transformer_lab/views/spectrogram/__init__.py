"""A sound, when each word of the answer looks at it, and whether that matters."""
