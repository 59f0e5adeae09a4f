"""A Flask application as users write it: it knows nothing of roadworthy."""

import logging
import os
import time

from flask import Flask

app = Flask(__name__)
log = logging.getLogger("shop.orders")


@app.get("/")
def index():
    return "hello"


@app.get("/item/<int:number>")
def item(number):
    log.warning("item %d asked for", number)
    return {"item": number}


@app.get("/broken")
def broken():
    raise ValueError("this view is broken")


@app.get("/who")
def who():
    time.sleep(0.01)
    return str(os.getpid())


@app.get("/stream")
def stream():
    return (f"{n}\n" for n in range(5)), {"Content-Type": "text/plain"}
