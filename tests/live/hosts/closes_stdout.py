"""A program that closes its standard output, as daemons do, and goes on logging to standard error."""

import logging
import os
import signal
import sys

print("the last line")
sys.stdout.flush()
os.close(1)
log = logging.getLogger("quiet")
for n in range(int(sys.argv[1])):
    log.warning("line %d", n)
signal.pause()
