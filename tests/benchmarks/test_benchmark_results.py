"""Stored results, their tables, and the command line."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import cases, cli, contenders, machine, neurons, results
from benchmarks.measure import ratios, summary


def row(milliseconds, device="cpu", **changes):
    return {
        "device": device,
        "versions": {"keras": "3.15"},
        "step_s": summary([milliseconds / 1000]),
        "ratio": {"median": 1.0, "min": 1.0, "max": 1.0},
        "first_step_s": 1.5,
        "peak_bytes": 400e6,
    } | changes


def result(backend="tensorflow", **changes):
    return {
        "case": {"title": "a network"},
        "backend": backend,
        "machine": {"cpu": "AMD EPYC", "cores": 2, "load_average": [0.1]},
        "rounds": 10,
        "steps": 3,
        "check": {
            "spikes": 7,
            "firing_rates": [0.25],
            "gradient_norms": {"keras_snn": [1.0], "rnn": [1.0]},
        },
        "contenders": {"keras_snn": row(84.7)},
        "failed": {},
    } | changes


# Statistics


def test_summary_is_median_quartiles_and_range():
    expected = {"median": 3, "min": 1, "q1": 2, "q3": 4, "max": 9}
    assert summary([9, 1, 3, 4, 2]) == expected


def test_summary_of_one_number_is_that_number():
    assert set(summary([7.0]).values()) == {7.0}


def test_ratios_compare_within_a_round():
    # The machine was ten times slower in the second round.
    ours, other = [[1, 2, 3], [20, 20, 20]], [[4, 4, 4], [40, 40, 90]]
    ratio = ratios(other, ours)
    assert (ratio["median"], ratio["min"], ratio["max"]) == (2, 2, 2)


def test_ratios_need_the_same_rounds():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratios([[1], [2]], [[1]])


# Files


def test_results_of_other_cases_stay_in_the_file(tmp_path):
    path = tmp_path / "new" / "results.json"
    results.store(path, "b", {"n": 1})
    results.store(path, "a", {"n": 2})
    results.store(path, "b", {"n": 3})
    assert json.loads(path.read_text()) == {"a": {"n": 2}, "b": {"n": 3}}
    assert results.load(path.parent) == [{"a": {"n": 2}, "b": {"n": 3}}]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    results.store(path, "a", {"n": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        results.store(path, "a", {"n": object()})
    assert json.loads(path.read_text()) == {"a": {"n": 1}}
    assert [x for x in tmp_path.iterdir() if x.suffix == ".json"] == [path]


def test_files_are_named_after_the_device():
    on_cpu = results.path_of(result("jax"))
    assert on_cpu == results.FOLDER / "amd-epyc-2-cores-jax.json"
    gpu = {"keras_snn": row(1, device="NVIDIA H100 80GB")}
    on_gpu = results.path_of(result("torch", contenders=gpu))
    assert on_gpu.name == "nvidia-h100-80gb-torch.json"


# Tables


def test_a_table_has_a_column_per_backend():
    relu = row(65.0, ratio={"median": 0.77, "min": 0.74, "max": 0.8})
    tensorflow = result(contenders={"keras_snn": row(84.7), "relu": relu})
    torch = result("torch", contenders={"keras_snn": row(2154)})
    printed = results.tables([{"W0": torch}, {"W0": tensorflow}])
    expected = """
| ms per step | TensorFlow | PyTorch |
| --- | ---: | ---: |
| `keras_snn` | 84.7 | 2154 |
| ReLU in place of the neurons | 65 (0.77, 0.74-0.80) |  |
"""
    assert expected in printed
    assert printed.count("### W0: a network") == 1


def test_machines_and_cases_have_tables_of_their_own():
    other = result(machine={"cpu": "Xeon", "cores": 4, "load_average": [0.1]})
    stored = [{"W0": result(), "W2": result()}, {"W0": other}]
    printed = results.tables(stored)
    assert printed.count("### W0: a network") == 2
    assert printed.count("### W2: a network") == 1
    assert "AMD EPYC, 2 cores." in printed
    assert "Xeon, 4 cores." in printed


def test_unknown_memory_is_a_question_mark():
    contender = {"keras_snn": row(1, peak_bytes=None)}
    assert "| `keras_snn` | ? |" in results.tables(
        [{"W0": result(contenders=contender)}]
    )


def test_every_contender_and_backend_has_a_label():
    names = (*contenders.OWN, *contenders.PEERS, *contenders.BACKENDS)
    assert results.LABELS.keys() == {*names, "against"}


def test_notes_say_what_makes_numbers_doubtful():
    doubtful = result(
        contenders={"a": row(1), "b": row(1, device="gpu")},
        failed={"c": "no reason"},
        machine={"cpu": "AMD EPYC", "cores": 2, "load_average": [1.5]},
    )
    assert results.notes(doubtful).splitlines() == [
        "same 7 spikes, rates 0.250: keras_snn, rnn",
        "not measured: c: no reason",
        "BUSY: the load average was 1.5",
        "NOT COMPARABLE, different devices: a cpu, b gpu",
    ]
    assert len(results.notes(result()).splitlines()) == 1


# The command line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--workload W9", "invalid choice: 'W9'"),
        ("--backend theano", "invalid choice: 'theano'"),
        ("--rounds 0", "must be an integer of at least 1. Received: 0"),
        ("--batch x", "must be an integer of at least 1. Received: x"),
        ("--contenders copy", "W0 has no contender copy"),
        ("--dtype float16", "invalid choice: 'float16'"),
        ("--against docs", "must be a folder that contains keras_snn"),
    ],
)
def test_bad_flags_are_refused_in_one_sentence(flags, message, capsys):
    with pytest.raises(SystemExit):
        cli.parse(flags.split())
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_contenders_of_a_run():
    everything = ["keras_snn", "relu", "rnn", *contenders.PEERS]
    assert cli.parse([]).contenders == everything
    args = cli.parse(["--workload", "W2", "--contenders", "copy"])
    assert args.contenders == ["keras_snn", "copy"]
    args = cli.parse(["--against", str(machine.CHECKOUT)])
    assert args.contenders[:2] == ["keras_snn", "against"]


def test_help_names_every_workload(capsys):
    with pytest.raises(SystemExit):
        cli.parse(["--help"])
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in cases.CASES)


def test_table_prints_the_stored_results(tmp_path, capsys, monkeypatch):
    results.store(tmp_path / "a.json", "W0", result())
    monkeypatch.setattr(results.load, "__defaults__", (tmp_path,))
    assert cli.main(["table"]) == 0
    assert "| `keras_snn` | 84.7 |" in capsys.readouterr().out


def test_every_peer_has_a_file():
    for name in contenders.PEERS:
        module = f"benchmarks.contenders.{name}"
        assert importlib.util.find_spec(module) is not None


def test_the_parent_imports_no_framework():
    code = (
        "import sys, benchmarks.cli; "
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=machine.CHECKOUT,
        check=True,
    )
    assert done.stdout.strip() == "set()"


def test_the_docs_have_the_stored_table_of_neurons():
    page = pathlib.Path(__file__).parents[2] / "docs" / "speed.md"
    assert neurons.table() in page.read_text("utf-8")
