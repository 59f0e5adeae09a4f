"""A WSGI application on the standard library's own server."""

import os
from wsgiref.simple_server import make_server


def app(environ, start_response):
    if environ["PATH_INFO"] == "/broken":
        raise ValueError("this view is broken")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


make_server("", int(os.environ["PORT"]), app).serve_forever()
