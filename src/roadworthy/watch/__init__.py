"""Judging what was measured: health, liveness, operations, trends.

Pure, without exception: values and ``now`` in, values out.
"""
