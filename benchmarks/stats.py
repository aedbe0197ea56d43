"""Medians, spreads, and ratios that see the same minute of the machine."""

import statistics


def summary(values):
    """Median and spread.

    Args:
        values: Numbers, at least one.

    Returns:
        A dictionary of `median`, `min`, `q1`, `q3`, `max`.

    Example:
    >>> summary([4.0, 1.0, 3.0, 2.0, 5.0])
    {'median': 3.0, 'min': 1.0, 'q1': 2.0, 'q3': 4.0, 'max': 5.0}
    """
    values = list(values)
    q1 = q3 = values[0]
    if len(values) > 1:
        q1, _, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {
        "median": statistics.median(values),
        "min": min(values),
        "q1": q1,
        "q3": q3,
        "max": max(values),
    }


def ratios(rounds, reference):
    """How many times as long as the reference, round by round.

    Both sides of a ratio come from the same round, so that a machine that is
    slower for a while does not favour one of them.

    Args:
        rounds: For every round the list of a contender's times.
        reference: The same of the contender to compare with.

    Returns:
        The ratio of the medians per round as `per_round`, and its `summary`.

    Example:
    >>> ratios([[2.0], [6.0]], [[1.0], [2.0]])["per_round"]
    [2.0, 3.0]
    """
    per_round = [
        statistics.median(times) / statistics.median(others)
        for times, others in zip(rounds, reference, strict=True)
    ]
    return {"per_round": per_round} | summary(per_round)
