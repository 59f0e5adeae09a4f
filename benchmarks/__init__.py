"""Ours against the peers and against bare code, in turns in one run: ``python -m benchmarks`` (docs/benchmarks.md)."""
