"""`python -m transformer_lab` is the command `transformer-lab`."""

from .cli import main

main()
