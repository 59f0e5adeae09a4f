"""The correlation identifier belongs to its context, and goes with tasks."""

import asyncio
import contextvars

from roadworthy.log import correlation


def test_there_is_none_until_it_is_bound():
    assert correlation.current() == ""
    token = correlation.bind("abc")
    assert correlation.current() == "abc"
    correlation.unbind(token)
    assert correlation.current() == ""


def test_it_is_short_and_on_one_line():
    token = correlation.bind("a\nb" + "x" * 1000)
    assert correlation.current().startswith("a\\nb")
    assert len(correlation.current()) <= 70
    correlation.unbind(token)


def test_tasks_do_not_see_one_anothers():
    async def task(identifier):
        correlation.bind(identifier)
        await asyncio.sleep(0)
        return correlation.current()

    async def main():
        return await asyncio.gather(task("a"), task("b"))

    assert asyncio.run(main()) == ["a", "b"]
    assert correlation.current() == ""


def test_unbinding_in_another_context_is_no_error():
    token = contextvars.copy_context().run(correlation.bind, "elsewhere")
    correlation.unbind(token)
    assert correlation.current() == ""
