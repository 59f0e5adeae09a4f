"""A short-lived process of the agent's: reads the configuration anew with the schema, and tells what it says.

The request is JSON on standard input: the folder, the options of the start, what was set by hand, the command. The
answer is JSON on standard output. It has the agent's environment, which is that of ``roadworthy run``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from roadworthy.errors import RoadworthyError, Unavailable

TIMEOUT: Final = 30.0
MOST: Final = 4 << 20


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sources say, or, with ``ok`` false, everything that is wrong."""
    from roadworthy.cli.configured import configuration, run_settings
    from roadworthy.config.layers import Layer, of_options
    from roadworthy.config.origin import Candidate, Origin
    from roadworthy.config.reference import reference

    layer = Layer("flag")
    for name, (value, where) in asked["options"].items():
        layer.entries[name] = Candidate(value, Origin("flag", where))
    changes = of_options(reference(), asked["set"], source="set")
    try:
        loaded = configuration(Path(asked["root"]), layer, changes=changes).require()
        settings = run_settings(loaded, tuple(asked["command"]))
    except RoadworthyError as error:
        return {"ok": False, "what": error.what, "why": error.why, "hint": error.hint}
    warnings = [str(issue) for issue in loaded.warnings]
    return {"ok": True, "settings": asdict(settings), "rows": loaded.rows(), "warnings": warnings}


async def validate(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ask such a process; raises :class:`Unavailable` when it gives no answer in time."""
    command = (sys.executable, "-P", "-m", "roadworthy.cli.reconfigure")
    pipe = asyncio.subprocess.PIPE
    err = b""
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate(json.dumps(asked).encode())
        made: Any = json.loads(out)
    except (TimeoutError, ValueError) as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
            why = f"It took longer than {TIMEOUT:g} s."
        else:
            why = err.decode(errors="replace").strip().rpartition("\n")[2] or f"It ended with {process.returncode}."
        raise Unavailable("the configuration could not be checked", why=why, hint="Nothing was changed.") from error
    return made if isinstance(made, dict) else {}


def main() -> int:
    """Answer one request; returns the exit code."""
    print(json.dumps(answer(json.loads(sys.stdin.buffer.read(MOST)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
