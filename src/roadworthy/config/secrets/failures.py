"""What can go wrong with a secret: one error each, which names the secret and the store and never holds a value.

What a vendor's client raises is not kept as the cause: it may carry the request, the answer or the local values of the
client's frames, and so the token or the secret. Its kind and status are told in words instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from roadworthy.errors import (
    FULL,
    ConfigurationError,
    Exhausted,
    NotFound,
    Refused,
    RoadworthyError,
    Temporary,
    Unavailable,
    UsageError,
)

T = TypeVar("T")


def asked(call: Callable[[], T], translate: Callable[[Exception], RoadworthyError]) -> T:
    """Return what ``call`` returns; what it raises is raised as our error, without the original behind it."""
    try:
        return call()
    except RoadworthyError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a vendor's client raises becomes one error of ours
        failure = translate(error)
    raise failure


def not_found(name: str, place: str, hint: str = "") -> NotFound:
    """Return the error for a secret that the store does not have."""
    return NotFound(
        f"there is no secret {name} in {place}",
        why="The store answered, and has nothing under this name.",
        hint=hint or f"See what is there: roadworthy secrets list; or put it there: roadworthy secrets set {name}",
    )


def forbidden(name: str, place: str, why: str, hint: str = "") -> Refused:
    """Return the error for a store that does not let us read."""
    return Refused(
        f"{place} refuses access to the secret {name}",
        why=why,
        hint=hint or "Give the identity that this program runs as the right to read it.",
    )


def timed_out(name: str, place: str, seconds: float) -> Temporary:
    """Return the error for a store that did not answer in time."""
    return Temporary(
        f"{place} did not answer in time when asked for the secret {name}",
        why=f"Nothing came within {seconds:g} s.",
        hint="Try again; if it stays so, look at the network between this machine and the store.",
    )


def busy(name: str, place: str, why: str) -> Temporary:
    """Return the error for a store that says that it cannot answer now."""
    return Temporary(f"{place} cannot give the secret {name} now", why=why, hint="Try again in a while.")


def unreachable(name: str, place: str, why: str) -> Unavailable:
    """Return the error for a store that cannot be asked at all."""
    return Unavailable(
        f"{place} cannot be reached for the secret {name}",
        why=why,
        hint="Check its address and the network between this machine and the store.",
    )


def malformed(name: str, place: str, why: str, hint: str = "") -> ConfigurationError:
    """Return the error for something that is there and cannot be understood; ``why`` must not quote it."""
    return ConfigurationError(
        f"what {place} holds for the secret {name} cannot be understood",
        why=why,
        hint=hint or "Look at it with the store's own tools and put it right there.",
    )


def extra_missing(place: str, module: str, extra: str) -> ConfigurationError:
    """Return the error for a vendor's client that is not installed."""
    return ConfigurationError(
        f"{place} cannot be used: the Python package {module} is not installed",
        why="Clients of secret stores are extras: nobody needs all of them.",
        hint=f"Install it: pip install 'roadworthy[{extra}]'",
    )


def variable_missing(variable: str, kind: str, example: str) -> ConfigurationError:
    """Return the error for a store that was chosen without saying where it is."""
    return ConfigurationError(
        f"{variable} is not set",
        why=f"The secrets backend is {kind}, which needs it.",
        hint=f"Set it, for example: {variable}={example}",
    )


def read_only(name: str, place: str, hint: str) -> UsageError:
    """Return the error for a change that the store does not take from us."""
    return UsageError(f"the secret {name} cannot be changed in {place}", why="We only read there.", hint=hint)


def cannot_read(name: str, place: str, error: OSError) -> RoadworthyError:
    """Return the error for a file that cannot be read, by what the system said."""
    if isinstance(error, FileNotFoundError):
        return not_found(name, place)
    if isinstance(error, PermissionError):
        return forbidden(name, place, f"{error.strerror} (errno {error.errno}).", "Make it readable for this user.")
    return Unavailable(
        f"{'the secrets' if name == '(all)' else f'the secret {name}'} cannot be read from {place}",
        why=f"{error.strerror} (errno {error.errno}).",
        hint="Look at what stands there; it has to be a file that this user can read.",
    )


def cannot_write(path: object, error: OSError) -> RoadworthyError:
    """Return the error for a file that cannot be written; the old one is still there."""
    kind = Exhausted if error.errno in FULL else Unavailable
    return kind(
        f"cannot write {path}",
        why=f"{error.strerror} (errno {error.errno}). What was there before is unchanged.",
        hint="Make room there." if kind is Exhausted else "Make the file and its folder writable for this user.",
    )
