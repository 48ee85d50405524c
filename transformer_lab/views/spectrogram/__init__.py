"""A sound, when each word of the answer attends to it, and whether that matters."""
