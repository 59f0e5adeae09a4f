"""``roadworthy``: finds the verb and imports only its module."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import NoReturn

import click

from roadworthy import __version__
from roadworthy.cli.errors import show, system_error
from roadworthy.cli.usage import usage
from roadworthy.errors import EXIT_GENERAL, EXIT_INTERRUPT, RoadworthyError

VERBS = {
    "run": ("roadworthy.cli.run:run", "Run a program: watched, healed and shown."),
    "attach": ("roadworthy.cli.attach:attach", "Watch a program that runs without an agent."),
    "status": ("roadworthy.cli.status:status", "Tell how a program is, why, and since when."),
    "top": ("roadworthy.cli.top:top", "Watch a program live in the terminal."),
    "export": ("roadworthy.cli.export:export", "Write a program's figures to a file."),
    "report": ("roadworthy.cli.report:report", "Report how a program did; regularly, if told so."),
    "baseline": ("roadworthy.cli.report:baseline", "Compare a program's figures with those of a good time."),
    "stop": ("roadworthy.cli.stop:stop", "Stop a program and all that it started."),
    "restart": ("roadworthy.cli.stop:restart", "Stop a program's workers and start them again."),
    "reload": ("roadworthy.cli.stop:reload", "Replace the workers one by one without losing a request."),
    "policy": ("roadworthy.cli.policy:policy", "Show policies and their breakers; force or reset one."),
    "service": ("roadworthy.cli.service:service", "Show services; recover, restart, degrade or restore one."),
    "feature": ("roadworthy.cli.feature:feature", "Show features; switch one off or on."),
    "logs": ("roadworthy.cli.logs:logs", "Show what a program says, all its workers in one stream."),
    "debug": ("roadworthy.cli.debug:debug", "Set a logger to debug for a while; it goes back by itself."),
    "config": ("roadworthy.cli.config:config", "Show, explain, check and change settings."),
    "log-level": ("roadworthy.cli.log_level:log_level", "Set the log level of a running program, and take it back."),
    "trail": ("roadworthy.cli.trail:trail", "Show the audit trail, and verify that it is whole."),
    "detect": ("roadworthy.cli.detect:detect", "Tell where this runs, by what evidence, and within which limits."),
    "secrets": ("roadworthy.cli.secrets:secrets", "Keep secrets in a store, and find stray ones."),
    "stacks": ("roadworthy.cli.stop:stacks", "Show what every thread of a program is doing."),
}
"""Verb to (module:object, one line of help); the modules are imported when their verb is used."""


class LazyGroup(click.Group):
    """A group whose commands are imported on use; a verb whose module is missing does not disturb the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs that are there."""
        return [name for name, (target, _) in VERBS.items() if importlib.util.find_spec(target.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command for a verb, or None for a word that is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name][1]) for name in self.list_commands(ctx)])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="roadworthy")
def root() -> None:
    """Make any program fit for production: roadworthy run -- python app.py."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status; an expected failure is three lines, never a traceback."""
    _three_descriptors()
    try:
        result = root.main(args=argv, prog_name="roadworthy", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except RoadworthyError as error:
        code = show(error)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.UsageError as error:
        code = show(usage(error))
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPT
    except BrokenPipeError:  # the reader of our output has gone: nothing more to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_GENERAL
    except OSError as error:
        code = show(system_error(error))
    sys.exit(code)


def _three_descriptors() -> None:
    """Open what the caller has closed of standard input, output and error on ``/dev/null``.

    Else the next file that is opened, a lock or a socket, would be taken for one of them.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115 - lives as long as we
