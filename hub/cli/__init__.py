"""The command line: `hub`, with one module for each command.

A module here imports click and what is light; the server, the client and `rich` are
imported by the command that needs them, when it runs: `hub --help` and the
completion of a word in a shell must not wait for them.
"""

from __future__ import annotations

import click

from hub import __version__
from hub.cli import (
    bench,
    cat,
    completion,
    export,
    fold,
    import_,
    ls,
    publish,
    serve,
    tail,
    verify,
)
from hub.cli.program import Program

__all__ = ["main"]


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="hub")
def main() -> None:
    """An HTTP event hub that keeps every event in a plain text file.

    \b
    Example:
      hub serve                            run a hub: http://localhost:9000
      hub publish greetings 'Hello world'  in another terminal
      hub tail -f greetings
    """


for _command in (
    serve.serve,
    publish.publish,
    tail.tail,
    cat.cat,
    ls.ls,
    fold.fold,
    export.export,
    import_.import_,
    verify.verify,
    bench.bench,
    completion.completion,
):
    main.add_command(_command)
