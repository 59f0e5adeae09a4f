"""One command: the report service under the agent, with dependencies that can be made to fail.

python examples/reports/start.py                        SQLite, no cache server
python examples/reports/start.py --cache redis://… --database postgresql://…
python examples/reports/start.py switch upstream slow   from another terminal; also dead, frozen, flapping, ok
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHERE = "control.json"


def main() -> int:
    """Start everything, or switch a dependency of what runs."""
    options = parsed()
    options.data.mkdir(parents=True, exist_ok=True)
    if options.what == "switch":
        return switch(options)
    argv = [sys.executable, str(HERE / "dependencies.py"), "--sqlite", str(options.data / "reports.db")]
    argv += ["--cache", options.cache, "--database", options.database]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as beside:
        line = beside.stdout.readline() if beside.stdout else ""
        if not line:
            return 1
        said = json.loads(line)
        (options.data / WHERE).write_text(line, encoding="utf-8")
        env = os.environ | {
            "REPORTS_DATABASE": said["database"],
            "REPORTS_CACHE": said["cache"],
            "REPORTS_UPSTREAM": said["upstream"],
            "REPORTS_SPOOL": str(options.data / "spool"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH")))),
        }
        program = [sys.executable, "-m", "uvicorn", "reports.app:app", "--port", str(options.port)]
        run = [sys.executable, "-m", "roadworthy", "run", "--name", options.name]
        run += ["--port", str(options.port), "--workers", str(options.workers), *options.run, "--", *program]
        print(f"reports: http://127.0.0.1:{options.port}/reports", flush=True)
        with subprocess.Popen(run, env=env) as keeper:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda got, _: keeper.send_signal(got))
            status = keeper.wait()
        if beside.stdin:
            beside.stdin.close()
    (options.data / WHERE).unlink(missing_ok=True)
    return status


def switch(options: argparse.Namespace) -> int:
    """Make a dependency behave otherwise; returns 0 when it does."""
    try:
        said = json.loads((options.data / WHERE).read_bytes())
        url = f"{said['control']}/{options.dependency}?mode={options.mode}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:  # noqa: S310
            print(answer.read().decode())
    except FileNotFoundError:
        print(f"reports: nothing runs with --data {options.data}; start it first", file=sys.stderr)
        return 4
    except urllib.error.HTTPError as refused:
        print(json.loads(refused.read())["error"], file=sys.stderr)
        return 2
    except urllib.error.URLError as error:
        where = options.data / WHERE
        print(f"reports: what {where} names does not answer ({error.reason}); is it running?", file=sys.stderr)
        return 4
    return 0


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description="The report service under the agent.")
    parser.add_argument("--data", type=Path, default=Path("reports-data"), help="folder of the database")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--name", default="reports")
    parser.add_argument("--cache", default="", metavar="URL", help="redis://…")
    parser.add_argument("--database", default="", metavar="URL", help="postgresql://…")
    parser.add_argument("--run", action="append", default=[], metavar="OPTION", help="one more of `roadworthy run`")
    verbs = parser.add_subparsers(dest="what")
    verb = verbs.add_parser("switch", help="make a dependency slow, dead, frozen, flapping or ok again")
    verb.add_argument("dependency", choices=("upstream", "database", "cache"))
    verb.add_argument("mode", choices=("ok", "slow", "dead", "frozen", "flapping"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
