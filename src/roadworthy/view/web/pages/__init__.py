"""Pages of the operations API, each one document with everything inlined."""
