"""Does a little of everything that is measured, for two seconds at a time, and goes on without an event loop."""

import asyncio
import time

import roadworthy as rw

rw.start()
rw.startup.checkpoint("initialized")
time.sleep(0.2)
rw.startup.checkpoint("database_connected")
cache = rw.gauge("tiles.cache.hit_rate")
work = rw.loop("main")


class World:
    name = "world"

    def collect(self):
        return {"entities": 42, "timestamp": time.time()}


@rw.check("database", every=1.0, timeout=1.0)
async def ping():
    return True, "42 rows"


async def prepare():
    await asyncio.sleep(0.3)


rw.collector(World())
asyncio.run(prepare())
rw.startup.ready()
number = 0
while True:
    number += 1
    cache.set(0.93)
    work.turn()
    with rw.operation("extraction", memory=True, trace_id="abc", password="hunter2"):
        time.sleep(0.005)
    for _ in range(10):
        with rw.operation("trivial"):
            pass
    if number % 5 == 0:
        rw.error("ExtractionError", f"could not read {number}", "extraction")
    rw.usage("batch", "completed")
    time.sleep(0.01)
