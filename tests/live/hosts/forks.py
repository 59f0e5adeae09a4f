"""A program that forks: three children log and stay, and so does the parent; one child of a child, too."""

import logging
import os
import signal
import sys

records = int(sys.argv[1])
log = logging.getLogger("family.member")
log.warning("parent before")
for number in range(3):
    if os.fork() == 0:
        name = "grand" if number == 0 and os.fork() == 0 else number
        for n in range(records):
            log.warning("child %s says %d", name, n)
        signal.pause()
log.warning("parent after")
signal.pause()
