"""An asyncio frame loop that logs each frame, and once blocks its event loop."""

import asyncio
import logging
import sys
import time

log = logging.getLogger("game.loop")


def think_too_long():
    time.sleep(1.5)


async def main(frames):
    for frame in range(frames):
        await asyncio.sleep(0.01)
        log.error("frame %d", frame)
        print("frame", frame)
        if frame == frames // 2:
            think_too_long()


asyncio.run(main(int(sys.argv[1])))
