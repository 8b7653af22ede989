"""`hub publish`: writes one event, or one for each line of standard input."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

import click
import msgspec

from hub.cli.completion import complete_names
from hub.cli.input import size_of, standard_input
from hub.cli.program import say
from hub.cli.talking import talk, url_option
from hub.cli.terminal import is_terminal, note, progress
from hub.cli.uploading import Broken, Form, Upload
from hub.errors import InvalidEvent
from hub.event import check_channel_name, check_id, check_type
from hub.formats import CONTENT_TYPES, NDJSON, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection

_KINDS = {
    Form.TEXT: "text/plain; charset=utf-8",
    Form.JSON: CONTENT_TYPES[NDJSON],
    Form.TSV: CONTENT_TYPES[TSV],
}


@click.command()
@click.argument("channel", shell_complete=complete_names)
@click.argument("data", required=False)
@click.option("--event", metavar="TYPE", default="", help="The type; none by default.")
@click.option("--id", "identity", metavar="ID", default="", help="The id; the hub gives one.")
@click.option("--json", "form", flag_value=Form.JSON, help="Take JSON only; pass over blank lines.")
@click.option(
    "--tsv", "form", flag_value=Form.TSV, help="Take 'id TAB type TAB data', as in files."
)
@url_option
def publish(
    channel: str, data: str | None, event: str, identity: str, form: Form | None, url: str
) -> None:
    """Write an event to a channel: DATA, or else one for each line of standard input.

    Prints the event's id; of lines, how many events they are, and the first and the last
    id, as JSON. Lines are sent as they come, in batches, each of which is stored whole or
    not at all. If something goes wrong, it is said how far it came.

    \b
    Example:
      hub publish orders '{"item": "tea"}' --event placed
      git log --format=%s | hub publish commits --event commit
      hub cat orders | hub publish --tsv copy-of-orders
    """
    form = Form(form or Form.TEXT)
    if form is Form.TSV and (event or identity):
        raise click.UsageError("with --tsv, id and type stand in the lines: no --event or --id")
    check_channel_name(channel)
    check_type(event)
    check_id(identity)
    if data is None:
        _publish_lines(url, channel, form, event, identity)
    else:
        _publish_one(url, channel, data, form, event, identity)


def _publish_one(url: str, channel: str, data: str, form: Form, event: str, identity: str) -> None:
    body = data.encode(errors="surrogateescape")  # what is not UTF-8 is for the hub to refuse
    if form is Form.JSON:
        try:
            body = msgspec.json.format(body, indent=-1)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidEvent(f"DATA is not JSON: {error}") from None
    params = {"event": event or None, "id": identity or None}

    async def work(connection: Connection) -> None:
        headers = {"Content-Type": _KINDS[form]}
        answer = await connection.request(
            "POST", f"/{channel}", params=params, headers=headers, body=body + b"\n"
        )
        told = answer.body.decode()
        click.echo(told if form is Form.TEXT else msgspec.json.decode(told)["last"])

    talk(url, work)


def _publish_lines(url: str, channel: str, form: Form, event: str, identity: str) -> None:
    uploads: list[Upload] = []
    if is_terminal(sys.stdin):
        note("Type events, one a line; Ctrl-D ends.")

    async def work(connection: Connection) -> None:
        with progress("publishing", size_of(sys.stdin.fileno()), of_bytes=True) as bar:
            upload = Upload(connection, channel, form, event, identity, bar.advance)
            uploads.append(upload)
            async with aclosing(standard_input()) as pieces:
                await upload.send_all(pieces)

    try:
        talk(url, work)
    except Broken as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        if uploads:
            say(f"stopped: {uploads[0].told()}")
        raise
    click.echo(msgspec.json.encode(uploads[0].stored))
