"""A text to type, heads to switch off, edges to cut, and what that changes."""
