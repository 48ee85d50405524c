"""A model that looks at pictures."""
