"""Figures over time: samples as compressed tiles, the newest minute in a mapped file, incidents beside them."""
