"""What a model computes with its attention, as numbers: paths through the layers, what values
carry, what a head's weights say, and what the residual stream holds.

Pure functions over traces (or over the weights of our own models); results are fp32 on the CPU.
"""

__all__: list[str] = []
