"""Every head of a trace: small in a grid, the chosen one as lines and as a map."""
