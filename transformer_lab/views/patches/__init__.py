"""An image, what a patch of it attends to, and whether that matters."""
