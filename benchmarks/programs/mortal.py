"""A program that only says that it runs: one line, "PID NANOSECONDS", appended to a file. Unmodified, as far as we go.

python benchmarks/programs/mortal.py FILE
"""

from __future__ import annotations

import os
import signal
import sys
import time

with open(sys.argv[1], "ab", buffering=0) as file:  # noqa: PTH123 - the cheapest start there is: pathlib takes milliseconds
    file.write(b"%d %d\n" % (os.getpid(), time.monotonic_ns()))
signal.pause()
