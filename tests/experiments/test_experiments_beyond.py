"""Tables of the experiments that the paper does not have."""

import types

from experiments import beyond


def record(correct, to_60, iterations=400):
    return types.SimpleNamespace(
        iterations=iterations,
        test_samples=200,
        tested=[[iterations, correct]],
        to_60=to_60,
    )


def test_a_cell_has_mean_interval_seeds_and_median():
    runs = [
        record(180, 50),
        record(190, None),
        record(185, 70),
        record(9, 1, 5),
    ]
    rows = beyond.table({("deep",): {"copy": runs, "shi": []}}, 400)
    # Student's interval of .90, .95, .925: .925 +- 4.303 * .025 / sqrt(3).
    assert rows == [
        ["network", "copy"],
        ["deep", "92.5 (86.3-98.7, 3 seeds) [70]"],
    ]


def test_a_network_that_mostly_fails_has_no_iteration():
    runs = [record(20, None), record(20, None), record(20, 7)]
    ((_, text),) = beyond.table({("deep",): {"shi": runs}}, 400)[1:]
    assert text == "10.0 (10.0-10.0, 3 seeds) [-]"
