"""The command line."""

from caloforge.cli.main import app, main

__all__ = ["app", "main"]
