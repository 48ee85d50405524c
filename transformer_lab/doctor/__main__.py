"""`python -m transformer_lab.doctor` needs only the standard library, not even click."""

from .report import main

main()
