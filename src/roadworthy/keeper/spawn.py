"""Starting processes by ``posix_spawn``: nothing of ours runs between fork and exec, a failure comes back at once."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stub; `signal` itself would import enum
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULTED = tuple(
    int(getattr(_signal, name))
    for name in ("SIGPIPE", "SIGXFSZ", "SIGCHLD", "SIGTERM", "SIGTTOU", "SIGTTIN", "SIGUSR1", "SIGUSR2")
)


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdin: int | None,
    stdout: int | str,
    stderr: int | str,
    keep: Sequence[int] = (),
    session: bool = False,
) -> int:
    """Start a program in a process group (or session) of its own and return its pid; raises ``OSError`` when it cannot.

    ``stdin`` is a descriptor, or None for ``/dev/null``; ``stdout`` and ``stderr`` are descriptors or paths of files to
    append to; ``keep`` are descriptors that the program inherits under their own numbers. Signals start unblocked and,
    except for those that our own caller had ignored (``nohup``), with their default action.
    """
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []
    if stdin is None:
        actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
    elif stdin != 0:
        actions.append((os.POSIX_SPAWN_DUP2, stdin, 0))
    for number, target in ((1, stdout), (2, stderr)):
        if isinstance(target, str):
            actions.append((os.POSIX_SPAWN_OPEN, number, target, append, 0o600))
        elif target != number:
            actions.append((os.POSIX_SPAWN_DUP2, target, number))
    # Onto itself: this is how posix_spawn is told to leave a descriptor open.
    actions.extend((os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep)
    if session:
        return os.posix_spawnp(
            argv[0], list(argv), dict(env), file_actions=actions, setsigmask=[], setsigdef=_DEFAULTED, setsid=True
        )
    return os.posix_spawnp(
        argv[0], list(argv), dict(env), file_actions=actions, setsigmask=[], setsigdef=_DEFAULTED, setpgroup=0
    )
