"""A test that needs a real part is skipped without it, but never in CI."""

from __future__ import annotations

import pytest

from tests.parts import require


def test_a_missing_part_skips_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such-program here"):
        require("such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such-program here"):
        require("such-program")
    assert require("sh").endswith("/sh")
