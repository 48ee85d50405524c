"""Code shared by two or more views."""
