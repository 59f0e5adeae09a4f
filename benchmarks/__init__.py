"""Ours against the peers and against bare code, interleaved in one run: ``python -m benchmarks`` (docs/benchmarks.md)."""
