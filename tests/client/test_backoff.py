"""Waiting times."""

from __future__ import annotations

from hub.client.backoff import LONGEST, Backoff


def test_they_double_with_jitter_up_to_a_bound() -> None:
    backoff = Backoff(0.1, 2.0)
    for wanted in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert 0.5 * wanted <= backoff.next() <= 1.5 * wanted
    assert backoff.attempt == 7
    backoff.succeed()
    assert backoff.next() <= 0.15
    assert len({Backoff(1.0).next() for _ in range(10)}) > 5


def test_a_base_above_the_bound_holds() -> None:
    backoff = Backoff(10 * LONGEST)
    for _ in range(2000):  # no overflow
        assert 5 * LONGEST <= backoff.next() <= 15 * LONGEST
