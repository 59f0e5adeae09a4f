"""``http.client``, and with it ``urllib.request``, requests and urllib3: requests, their bytes, their identifiers.

Sent is what ``HTTPConnection.send`` was given and passed on without an error: request line, headers, body, the marks
between chunks, and what asks a proxy for a tunnel. A file that is handed to ``send`` counts by how far it was read; a
text file, or one that does not know where it is, does not count (``request`` reads files itself: those all count).
Received are bodies, as ``HTTPResponse`` hands them out. urllib3 reads chunks by itself: of those, one that is nothing
but a line's end is taken for what stands between chunks.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy.app import guard
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import http_calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

PLACE = "http.client"
READS = ("read", "read1", "readinto", "readline")
READ_BY_URLLIB3 = "_safe_read"
BETWEEN_CHUNKS = b"\r\n"

_STATE = "_roadworthy_call"
_RECEIVED = "_roadworthy_received"


def install(module: ModuleType) -> None:
    """Measure requests made through ``HTTPConnection`` and what derives from it."""
    connection = module.HTTPConnection
    wrap(connection, "putrequest", _putting)
    wrap(connection, "endheaders", _ending)
    wrap(connection, "send", _sending)
    wrap(connection, "getresponse", _getting)
    _count_reads(getattr(module, "HTTPResponse", None))


def _putting(original: Any) -> Any:
    def putrequest(self: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        self.__dict__[_STATE] = http_calls.Call(PLACE, method, getattr(self, "host", ""))
        return original(self, method, *args, **kwargs)

    return putrequest


def _ending(original: Any) -> Any:
    def endheaders(self: Any, *args: Any, **kwargs: Any) -> Any:
        _identify(self)
        try:
            return original(self, *args, **kwargs)
        except BaseException as error:
            _end(self, 0, error)
            raise

    return endheaders


def _sending(original: Any) -> Any:
    def send(self: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        before = _position(data) if hasattr(data, "read") else None
        try:
            result = original(self, data, *args, **kwargs)
        except BrokenPipeError:
            raise  # urllib3 goes on: the answer may have come before the body was sent
        except BaseException as error:
            _end(self, 0, error)
            raise
        _count_sent(self, data, before)
        return result

    return send


def _getting(original: Any) -> Any:
    def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            response = original(self, *args, **kwargs)
        except BaseException as error:
            _end(self, 0, error)
            raise
        _end(self, getattr(response, "status", 0), None)
        _follow(self, response)
        return response

    return getresponse


def _count_reads(response: Any) -> None:
    """Count what responses hand out. The one that is called first counts, not those that it calls itself."""

    def make_for(between: bytes | None) -> Any:
        def make(original: Any) -> Any:
            def take(self: Any, *args: Any, **kwargs: Any) -> Any:
                own = self.__dict__
                add = own.pop(_RECEIVED, None)
                if add is None:
                    return original(self, *args, **kwargs)
                try:
                    result = original(self, *args, **kwargs)
                except Exception as error:
                    _count_received(add, getattr(error, "partial", b""))  # of a body that ends too early
                    raise
                finally:
                    own[_RECEIVED] = add
                if result.__class__ is bytes and result != between:
                    add(len(result))  # at once: a program may read millions of lines
                elif result and result != between:
                    _count_received(add, result)
                return result

            return take

        return make

    for name in READS:
        wrap(response, name, make_for(None))
    wrap(response, READ_BY_URLLIB3, make_for(BETWEEN_CHUNKS))


def _identify(connection: Any) -> None:
    """Send the identifiers that are bound here along, those for which the program has set no header of its own."""
    try:
        found = http_calls.identifiers()
        if not found:
            return
        sent = [bytes(line).lower() for line in getattr(connection, "_buffer", ())]
        for name, value in found:
            start = f"{name.lower()}:".encode("ascii")
            if not any(line.startswith(start) for line in sent):
                connection.putheader(name, value.encode("ascii", "ignore"))
    except Exception as failure:
        if guard.failed("http.client headers", failure):
            raise


def _end(connection: Any, status: int, error: BaseException | None) -> None:
    try:
        call = connection.__dict__.pop(_STATE, None)
        if call is not None:
            call.end(status, error)
    except Exception as failure:
        if guard.failed(PLACE, failure):
            raise


def _follow(connection: Any, response: Any) -> None:
    """Let a response know what counts its bytes."""
    try:
        add = http_calls.received(connection.host)
        if add is not None:
            response.__dict__[_RECEIVED] = add
    except Exception as failure:
        if guard.failed("http.client bytes", failure):
            raise


def _position(data: Any) -> int | None:
    """Return where in a file of bytes we are, None when it does not say."""
    try:
        if hasattr(data, "encoding"):
            return None  # what a text file says is no number of bytes
        found = data.tell()
    except Exception as failure:
        if guard.from_signal_handler(failure):
            raise
        return None
    return found if isinstance(found, int) else None


def _count_sent(connection: Any, data: Any, before: int | None) -> None:
    try:
        if hasattr(data, "read"):
            after = None if before is None else _position(data)
            size = None if after is None or before is None else after - before
        else:
            size = _length(data)
        if size is not None and size > 0:
            add = http_calls.sent(connection.host)
            if add is not None:
                add(size)
    except Exception as failure:
        if guard.failed("http.client bytes", failure):
            raise


def _length(data: Any) -> int | None:
    try:
        return memoryview(data).nbytes
    except TypeError:
        return None  # an iterable, whose parts are gone by now


def _count_received(add: Any, result: Any) -> None:
    try:
        size = result if isinstance(result, int) else len(result)
        if size:
            add(size)
    except Exception as failure:
        if guard.failed("http.client bytes", failure):
            raise
