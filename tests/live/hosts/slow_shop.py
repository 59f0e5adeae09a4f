"""The Starlette application, with imports that take their time."""

import time

time.sleep(2.5)

from starlette_shop import app  # noqa: E402 - that is the point

__all__ = ["app"]
