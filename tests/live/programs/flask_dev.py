"""Flask's development server."""

import os

from flask_app import app

app.run(port=int(os.environ["PORT"]))
