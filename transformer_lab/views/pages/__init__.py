"""Self-contained pages of views, and notebooks with such pages."""
