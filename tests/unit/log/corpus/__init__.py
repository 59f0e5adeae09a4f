"""Planted secrets: one file as programs leak them, one that makes tokens by their published formats."""
