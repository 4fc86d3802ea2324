"""`python -m evalvault_otel` is the command line."""

from .cli import main

main()
