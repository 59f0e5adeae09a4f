"""A program that closes all descriptors, opens a file of its own for each number that is free, and serves."""

import http.server
import logging
import os
import sys

os.closerange(3, 4096)
mine = [os.open(sys.argv[1] + str(n), os.O_CREAT | os.O_RDWR, 0o600) for n in range(220)]
logging.getLogger("closer").warning("still here")
print("ready", flush=True)
if len(sys.argv) > 2:
    http.server.HTTPServer(("", int(sys.argv[2])), http.server.SimpleHTTPRequestHandler).serve_forever()
else:
    sys.stdin = open(0)  # noqa: SIM115 - wait to be ended
    import signal

    signal.pause()
