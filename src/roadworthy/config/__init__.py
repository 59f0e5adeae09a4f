"""Settings: plain resolved values, and where things live."""
