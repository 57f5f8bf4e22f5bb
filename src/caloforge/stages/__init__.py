"""Stages that systems share, with their configurations."""
