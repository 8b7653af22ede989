"""How the program `hub` ends: its exit codes, and what it says when something went wrong.

0 is success, 1 a failure, 2 a mistake in the command; a program that Ctrl-C or a
closed pipe ends, ends by that signal, as `cat` does: a shell sees 130 or 141, and a
script that runs it ends with it. Must not know any command.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from hub.errors import HubError

FAILURE = 1


class Program(click.Group):
    """A group of commands that ends as programs do."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command, and exit."""
        try:
            # What a command returns, or gives to `Context.exit`, is the exit code.
            code = super().main(*args, **extra | {"standalone_mode": False})
        except click.Abort:  # Ctrl-C before a command runs
            end_by(signal.SIGINT)
        except NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            _show_usage(error)
            code = error.exit_code
        except click.ClickException as error:
            say(error.format_message())
            code = error.exit_code
        except HubError as error:
            say(str(error))
            code = FAILURE
        except OSError as error:  # of a file that was named, or of standard output
            named = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            say(f"{named}{error.strerror or error}")
            code = FAILURE
            _drop_output()
        sys.exit(code or 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Whoever read the output may have read enough of it."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            end_by(signal.SIGINT)
        except BrokenPipeError:
            end_by(signal.SIGPIPE)
        return result


def say(text: str) -> None:
    """Tell on standard error what went wrong."""
    click.echo(f"hub: {text}", err=True)


def end_by(sign: signal.Signals) -> NoReturn:
    """End as a program does that this signal ends; what is still to be written is dropped."""
    signal.signal(sign, signal.SIG_DFL)
    os.kill(os.getpid(), sign)
    os._exit(128 + sign)  # the signal is blocked


def _drop_output() -> None:
    """Drop what standard output does not take: at its end, the interpreter would try again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_usage(error: click.UsageError) -> None:
    context = error.ctx
    if context is not None:
        click.echo(context.get_usage(), err=True)
        if context.command.get_help_option(context) is not None:
            click.echo(f"Try '{context.command_path} --help' for help.\n", err=True)
    say(error.format_message())
