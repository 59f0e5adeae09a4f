"""Programs that are run with and without roadworthy."""
