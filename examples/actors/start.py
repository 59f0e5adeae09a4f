"""One command: the actors under the agent.

python examples/actors/start.py                         then open http://127.0.0.1:8010/
echo 'ANTHROPIC_API_KEY=sk-…' >> data/.env              a real model, from the next answer on
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Start it and wait; returns the program's status."""
    options = parsed()
    env = os.environ | {
        "ACTORS_DATA": str(options.data),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH")))),
    }
    program = [sys.executable, "-m", "uvicorn", "actors.app:app", "--port", str(options.port), "--no-access-log"]
    run = [sys.executable, "-m", "roadworthy", "run", "--name", options.name, "--port", str(options.port)]
    print(f"actors: http://127.0.0.1:{options.port}/", flush=True)
    with subprocess.Popen([*run, *options.run, "--", *program], env=env) as keeper:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda got, _: keeper.send_signal(got))
        return keeper.wait()


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description="The actors under the agent.")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the database and of .env")
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument("--name", default="actors")
    parser.add_argument("--run", action="append", default=[], metavar="OPTION", help="one more of `roadworthy run`")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
