"""Flask's development server."""

import os

from flask_shop import app

app.run(port=int(os.environ["PORT"]))
