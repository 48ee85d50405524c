"""A finding as a page and a file from which it is made again."""
