"""`python -m transformer_lab.doctor` needs the standard library alone, not even click."""

from .report import main

main()
