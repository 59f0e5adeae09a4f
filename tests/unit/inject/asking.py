"""Clients of one shape: each takes requests (method, path, body, headers) and returns status and body of each answer.

Only the standard library is imported before a client is asked: a program under test imports them itself, if at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io


def parts():
    """Make a body whose length is not known beforehand."""
    yield b"a" * 10
    yield b"b" * 3000


async def async_parts():
    for part in parts():
        yield part


def ask_http_client(base, requests):
    """Ask over one connection, and follow redirects by hand."""
    with contextlib.closing(http.client.HTTPConnection(base.removeprefix("http://"), timeout=20)) as connection:

        def ask(method, path, body, headers):
            connection.request(method, path, body() if callable(body) else body, headers)
            with connection.getresponse() as answer:
                read = answer.read()
            to = answer.headers.get("Location")
            return (answer.status, read) if to is None else ask(method, to, body, headers)

        return [ask(*request) for request in requests]


def ask_urllib(base, requests):
    import urllib.error
    import urllib.request

    answers = []
    for method, path, body, headers in requests:
        data = body() if callable(body) else body
        request = urllib.request.Request(base + path, data, headers, method=method)  # noqa: S310 - http:// of the test
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
                answers.append((answer.status, b"".join(answer)))
        except urllib.error.HTTPError as error:
            with error:
                answers.append((error.code, io.BufferedReader(error.fp).read()))
    return answers


def ask_requests(base, requests):
    import requests as library

    answers = []
    with library.Session() as session:
        session.trust_env = False
        for method, path, body, headers in requests:
            data = body() if callable(body) else body
            with session.request(method, base + path, data=data, headers=headers, timeout=20, stream=True) as answer:
                answers.append((answer.status_code, b"".join(answer.iter_content(333))))
    return answers


def ask_httpx(base, requests, name="httpx"):
    library = __import__(name)
    answers = []
    with library.Client(base_url=base, trust_env=False, verify=False, follow_redirects=True, timeout=20) as client:
        for method, path, body, headers in requests:
            content = body() if callable(body) else body
            with client.stream(method, path, content=content, headers=headers) as answer:
                answers.append((answer.status_code, b"".join(answer.iter_bytes())))
    return answers


def ask_httpx2(base, requests):
    return ask_httpx(base, requests, "httpx2")


def ask_async_httpx(base, requests, name="httpx"):
    library = __import__(name)

    async def main():
        answers = []
        async with library.AsyncClient(
            base_url=base, trust_env=False, verify=False, follow_redirects=True, timeout=20
        ) as client:
            for method, path, body, headers in requests:
                content = async_parts() if callable(body) else body
                async with client.stream(method, path, content=content, headers=headers) as answer:
                    answers.append((answer.status_code, b"".join([part async for part in answer.aiter_bytes()])))
        return answers

    return asyncio.run(main())


def ask_async_httpx2(base, requests):
    return ask_async_httpx(base, requests, "httpx2")


def ask_aiohttp(base, requests):
    import aiohttp

    async def main():
        answers = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
            for method, path, body, headers in requests:
                data = async_parts() if callable(body) else body
                async with session.request(method, base + path, data=data, headers=headers) as answer:
                    answers.append((answer.status, b"".join([part async for part in answer.content.iter_any()])))
        return answers

    return asyncio.run(main())


CLIENTS = {
    "http.client": ask_http_client,
    "urllib": ask_urllib,
    "requests": ask_requests,
    "httpx": ask_httpx,
    "httpx async": ask_async_httpx,
    "httpx2": ask_httpx2,
    "httpx2 async": ask_async_httpx2,
    "aiohttp": ask_aiohttp,
}
