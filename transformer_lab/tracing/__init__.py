"""What one forward pass did: it is recorded, and its maps are made when somebody looks."""
