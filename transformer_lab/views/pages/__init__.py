"""One self-contained page of a view, and notebooks made of such pages."""
