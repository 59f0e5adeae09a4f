"""Read-only views of the Snapshot: JSON, Prometheus, HTTP, terminal, files."""
