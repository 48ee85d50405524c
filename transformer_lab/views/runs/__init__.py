"""A model while it learns, and its run afterwards."""
