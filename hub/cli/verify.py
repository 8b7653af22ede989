"""`hub verify`: looks for damage in an events directory, without a hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.cli.program import FAILURE
from hub.cli.terminal import count_text, note, progress, size_text

if TYPE_CHECKING:
    from hub.storage.indexverification import Finding


@click.command()
@click.argument(
    "directory",
    metavar="[EVENTS_DIR]",
    envvar="HUB_EVENTS",
    default="events",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--json", "as_json", is_flag=True, help="Print each finding, and a sum, as JSON.")
@click.pass_context
def verify(context: click.Context, directory: Path, as_json: bool) -> None:
    """Look for damage in a directory of event files (default: ./events, or HUB_EVENTS).

    Every line of every log must be an event, every commit whole, and all that was
    written must still be as it was by the checksums in the index. Nothing is changed, and
    no hub is needed; one may run meanwhile. Each finding is a line FILE:LINE: REASON.
    The exit code is 1 if there is damage, else 0: warnings, as of a torn write that the
    next start of a hub cuts off, are no damage.

    \b
    Example:
      hub verify events
      hub verify --json backup/events | jq -r .file
    """
    from hub.storage.verification import Verification

    with progress("verifying", of_bytes=True) as bar:
        verification = Verification(directory, progress=bar.advance)
        if verification.running:
            note(f"a hub has {directory} open: what it writes meanwhile is not looked at")
        grave = 0
        for finding in _all(verification.run(), verification.own / "consumers"):
            grave += finding.grave
            click.echo(_as_json(finding) if as_json else _as_text(finding))
    tally = verification.tally
    if not tally.logs and not verification.own.is_dir():
        raise click.ClickException(f"there are no event files in {directory}")
    if as_json:
        known = {"logs": tally.logs, "events": tally.events, "bytes": tally.bytes}
        click.echo(json.dumps({**known, "indexed": tally.indexed, "damaged": grave}))
    else:
        click.echo(
            f"{count_text(tally.logs, 'log')}, {count_text(tally.events, 'event')}, "
            f"{size_text(tally.bytes)}: {count_text(grave, 'damaged place') if grave else 'sound'}"
        )
    if grave:
        context.exit(FAILURE)


def _all(findings: Iterator[Finding], consumers: Path) -> Iterator[Finding]:
    """What is found in logs and index, and then in the files of consumers."""
    from hub.consumers.checkpoint import Checkpoints, Damaged
    from hub.storage.indexverification import Finding

    yield from findings
    checkpoints = Checkpoints(consumers)
    for path in sorted(consumers.glob("*.json")):
        try:
            checkpoints.read(path.stem)
        except Damaged as error:
            yield Finding(path, str(error))


def _as_text(finding: Finding) -> str:
    line = "" if finding.line is None else f":{finding.line}"
    return f"{finding.path}{line}: {'' if finding.grave else 'warning: '}{finding.reason}"


def _as_json(finding: Finding) -> str:
    return json.dumps(
        {
            "file": str(finding.path),
            "line": finding.line,
            "reason": finding.reason,
            "damage": finding.grave,
        }
    )
