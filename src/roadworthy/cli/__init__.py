"""The command line: one file per verb, and the only place where all parts are put together."""
