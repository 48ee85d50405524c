"""The Explorer: type a text, switch heads off, cut edges, and see the effect."""
