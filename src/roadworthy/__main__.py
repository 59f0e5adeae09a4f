"""``python -m roadworthy``: the command, where its script is not on the path."""

from roadworthy.cli.main import main

main()
