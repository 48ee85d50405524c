"""Adapters: how models are traced and edited, Hugging Face models through their attention interface."""
