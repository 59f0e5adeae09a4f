"""The Starlette application, with imports that take their time in every generation but the first."""

import os
import time

if os.environ["ROADWORTHY_GENERATION"] != "1":
    time.sleep(2.5)

from starlette_shop import app

__all__ = ["app"]
