"""A program that makes a daemon of itself: its main process ends, a grandchild in a session of its own serves."""

import http.server
import logging
import os
import sys

if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
logging.getLogger("daemon").warning("I am a daemon now")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
