"""What is written down: redaction and correlation."""
