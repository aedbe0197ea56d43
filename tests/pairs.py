"""Tests of two arguments that have nothing to do with each other."""

import itertools

import pytest


def pairs(**choices):
    """Parametrizes a test by two arguments, with every value of each.

    A test of every combination would take several times as long.
    """
    count = max(map(len, choices.values()))
    rows = zip(*map(itertools.cycle, choices.values()), strict=False)
    names = ",".join(choices)
    return pytest.mark.parametrize(names, list(itertools.islice(rows, count)))
