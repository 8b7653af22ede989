"""The tests stand where the code stands: `hub/web/app.py` is tested by `tests/web/test_app.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "hub"

UNTESTED = {
    "consumers/source.py": "protocols: no code of their own",
    "engines/base.py": "a protocol: no code of its own",
    "storage/log.py": "records: no code of their own",
    "web/context.py": "a dataclass without code",
}

LINES = 400


def sources() -> list[str]:
    found = (str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
    return sorted(each for each in found if not each.endswith("__init__.py"))


@pytest.mark.parametrize("source", sources())
def test_each_module_has_its_tests(source: str) -> None:
    path = Path(source)
    mirror = TESTS / path.with_name(f"test_{path.stem.strip('_')}.py")
    if source in UNTESTED:
        assert not mirror.exists(), f"{source} is tested: take it off the list"
        return
    assert mirror.exists(), f"{source} has no tests: {mirror.relative_to(TESTS.parent)} is missing"
    assert "def test_" in mirror.read_text()


def test_nothing_is_called_untested_that_is_not_there() -> None:
    assert set(UNTESTED) <= set(sources())


@pytest.mark.parametrize("source", sources())
def test_modules_are_short_and_say_what_they_are(source: str) -> None:
    text = (PACKAGE / source).read_text()
    assert text.startswith('"""')
    assert text.count("\n") < LINES, f"{source} is too long to be read at one go"
    assert Path(source).stem not in ("utils", "util", "helpers", "manager", "common", "misc")
