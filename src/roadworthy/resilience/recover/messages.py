"""What people are told of an error: each kind of reader what helps them, and nobody a secret (ERR-20).

A user gets a sentence for the kind of error and a reference to quote. An operator gets what, where and what to do. A
developer gets the text and the place as well. An exception's own text may hold anything, so that it is shown only as
far as the runtime's redaction has gone over it; where there is no redaction, it is left out.
"""

from __future__ import annotations

from roadworthy.resilience import arguments, outward
from roadworthy.resilience.recover import classify

USER, OPERATOR, DEVELOPER = AUDIENCES = ("user", "operator", "developer")

_FOR_USERS = {
    classify.CONNECTION: "A service that we need cannot be reached. Please try again in a few minutes.",
    classify.TIMEOUT: "This took too long and was stopped. Please try again.",
    classify.RATE_LIMIT: "There are too many requests at the moment. Please try again a little later.",
    classify.REJECTED: "This is not available for the moment. Please try again a little later.",
    classify.LOCKED: "Somebody else is changing the same data. Please try again.",
    classify.INPUT: "Something in what was entered is not valid. Please check it.",
    classify.PERMISSION: "You are not allowed to do this.",
    classify.SECURITY: "This was refused for security reasons.",
    classify.IMPORT: "This feature is not available at the moment.",
    classify.ENDING: "The program is ending.",
}
_FOR_ALL = "Something went wrong on our side; it was recorded."

_FOR_OPERATORS = {
    classify.CONNECTION: "See whether the other side runs and can be reached from here.",
    classify.TIMEOUT: "See whether the other side is slow, or raise the time limit.",
    classify.RATE_LIMIT: "Call less often, or ask the other side for a higher limit.",
    classify.REJECTED: "A policy refuses calls; see `roadworthy policy list` for which and why.",
    classify.LOCKED: "Find who holds the lock; keep transactions short.",
    classify.MEMORY: "Raise the memory limit, or find what grows.",
    classify.DISK_FULL: "Make room on the disk, or raise the quota.",
    classify.DESCRIPTORS: "Raise the limit of open files, or find what is not closed.",
    classify.FILE: "See whether the file and its directory are there.",
    classify.IMPORT: "Install the missing module; the feature comes back by itself.",
    classify.PERMISSION: "Check owner, mode and credentials.",
    classify.SECURITY: "Check certificates and credentials; look into the security log.",
    classify.INPUT: "See which request brought the value.",
}
_FOR_OPERATORS_ELSE = "Hand the reference to a developer."


def message_for(error: BaseException, audience: str = USER, *, reference: str = "", component: str = "") -> str:
    """Return what this reader is told of the error; ``reference`` is what they can quote.

    ``audience`` is ``user``, ``operator`` or ``developer``; raises BadArgument for another. An exception may bring its
    own sentence for users (``public``, see :mod:`roadworthy.resilience.recover.failures`).
    """
    arguments.choice("audience", audience, *AUDIENCES)
    kind = classify.kind_of(error)
    quoted = f" (reference {reference})" if reference else ""
    if audience == USER:
        public = getattr(error, "public", "")
        sentence = public if isinstance(public, str) and public else _FOR_USERS.get(kind, _FOR_ALL)
        return sentence + quoted
    name = type(error).__name__
    where = f" in {component or classify.component_of(error)}"
    if audience == OPERATOR:
        return f"{kind}: {name}{where}. {_FOR_OPERATORS.get(kind, _FOR_OPERATORS_ELSE)}{quoted}"
    text = outward.tell("redact", str(error)[:2000]) if outward.attached() is not None else None
    shown = text if isinstance(text, str) else "its text is left out: nothing is here that would redact it"
    return f"{kind}: {name}: {shown} (at {place_of(error)}){where}{quoted}"


def place_of(error: BaseException) -> str:
    """Return module, function and line where it was raised, "unknown" when it never was."""
    trace = error.__traceback__
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "?")
    return f"{module}.{trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}"
