"""The agent: beside the program it samples, judges, remembers and decides; never in the program's way."""
