"""The contract between processes: one memory-mapped file each, written by one, read by anybody (FORMAT.md)."""
