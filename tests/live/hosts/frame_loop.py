"""A frame loop without any framework: so many frames at 60 a second, each printed, every tenth logged, then idle."""

import logging
import sys
import time

log = logging.getLogger("game.loop")
due = time.monotonic()
for frame in range(int(sys.argv[1])):
    due += 1 / 60
    time.sleep(max(0.0, due - time.monotonic()))
    print("frame", frame)
    if frame % 10 == 0:
        log.warning("frame %d", frame)
while True:
    time.sleep(0.05)
