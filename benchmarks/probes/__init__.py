"""What is measured inside a process of its own; each prints nothing and writes one JSON file."""
