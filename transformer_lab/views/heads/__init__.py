"""All heads of a trace: thumbnails in a grid, the chosen head as lines and as a map."""
