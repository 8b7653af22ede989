"""`python -m evidence NAME`: runs one program, and says what it showed."""

from __future__ import annotations

import argparse
import importlib
import inspect
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

from evidence.run import Broken, Run

PROGRAMS: dict[str, str] = {
    "clock": "evidence.clock:clock",
    "damage": "evidence.damage:every_byte",
    "faults": "evidence.faults:faults",
    "flood": "evidence.flood:flood",
    "fuzz": "evidence.fuzz:fuzz",
    "index": "evidence.indexdamage:every_byte",
    "kill": "evidence.kill:kill",
    "load": "evidence.load:load",
    "power": "evidence.power:power",
    "slow": "evidence.slow:slow",
}
"""The programs by name: `module:function`.

The function takes a `Run` and returns what it showed, as lines of text, or
raises `Broken`. The first line of its docstring is the short help.
"""

SEED = 2026
_DIRECTORY = Path("/var/tmp")  # /tmp may be in memory, where a sync costs nothing


def main(words: list[str] | None = None) -> int:
    """Run a program. Returns 1 if a promise was broken."""
    arguments = _arguments(words)
    # So that `finally` and `with` stop the hubs and remove the files.
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    place = Path(tempfile.mkdtemp(prefix=f"hub-{arguments.name}-", dir=arguments.directory))
    run = Run(place, arguments.seed, arguments.long)
    setting = f"{arguments.name} --seed {run.seed}{' --long' * run.long}"
    try:
        shown = load(arguments.name)(run)
    except Broken as error:
        print(f"{setting}: BROKEN: {error}\nThe files are in {place}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):
        rmtree(place, ignore_errors=True)
        raise
    except BaseException:
        print(f"{setting}: failed; the files are in {place}", file=sys.stderr)
        raise
    rmtree(place)
    seconds = time.monotonic() - run.began
    print("\n".join([f"{setting}: kept, in {seconds:.0f} s", *(f"- {line}" for line in shown)]))
    return 0


def load(name: str) -> Callable[[Run], list[str]]:
    """The function of a program."""
    module, _, function = PROGRAMS[name].partition(":")
    found: Callable[[Run], list[str]] = getattr(importlib.import_module(module), function)
    return found


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evidence", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in PROGRAMS:
        text = inspect.getdoc(load(name)) or ""
        command = commands.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "--seed", type=int, default=SEED, help="of all chance in it (default: %(default)s)"
        )
        command.add_argument("--long", action="store_true", help="a thorough run")
        command.add_argument(
            "--directory",
            type=Path,
            default=_DIRECTORY,
            help="where it keeps its files, removed unless it fails (default: %(default)s)",
        )
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
