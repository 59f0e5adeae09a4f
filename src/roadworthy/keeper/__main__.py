"""Where the keeper's own interpreter starts: ``python -I -S keeper/__main__.py RUN_JSON [listen=FD] [lock=FD]``."""

from __future__ import annotations

import os
import sys


def _bare_package() -> None:
    """Put an empty package in place of ``roadworthy/__init__.py``, whose imports would cost this process a megabyte."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if "roadworthy" not in sys.modules:
        package = type(sys)("roadworthy")
        package.__path__ = [root]
        sys.modules["roadworthy"] = package


if __name__ == "__main__":
    _bare_package()
    from roadworthy.keeper.main import main

    main(sys.argv[1:])
