"""A program that closes every descriptor, opens its own files under the numbers that are free, logs, and waits.

Its files hold one letter each: whatever else is found in them was written by somebody who took a number for theirs.
"""

import logging
import os
import signal
import sys

folder, records = sys.argv[1], int(sys.argv[2])
log = logging.getLogger("closer")
log.addHandler(logging.NullHandler())  # standard error is gone: the handler of last resort would write into our files
for number in range(256):
    try:
        os.close(number)
    except OSError:
        continue
for number in range(200):
    os.write(os.open(f"{folder}/{number}", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600), b"x")
for n in range(records):
    log.warning("line %d", n)
while True:
    signal.pause()
