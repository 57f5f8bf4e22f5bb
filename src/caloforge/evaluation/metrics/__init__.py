"""Distances between samples of showers, each in a module of its own."""
