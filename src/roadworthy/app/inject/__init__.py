"""How the runtime comes into a Python program that nobody changed, and what it does there that is no integration."""
