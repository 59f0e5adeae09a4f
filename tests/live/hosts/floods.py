"""A program that prints 200 MB without one newline, then waits."""

import os
import signal
import sys

block = b"x" * 65536
for _ in range(int(sys.argv[1]) // len(block)):
    view = memoryview(block)
    while view:
        view = view[os.write(1, view) :]
print("done", file=sys.stderr, flush=True)
signal.pause()
