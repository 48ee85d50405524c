"""A model that reads images."""
