"""Stored results, their tables, and the command line."""

import importlib.util
import json
import subprocess
import sys

import pytest

from benchmarks import cases, cli, contenders, machine, results
from benchmarks.measure import ratios, summary

MACHINE = {
    "cpu": "AMD EPYC",
    "cores": 2,
    "gpu": None,
    "commit": "0123456789abcdef",
    "load_average": [0.1],
}


def row(milliseconds, device="cpu", **changes):
    return {
        "device": device,
        "versions": {"keras": "3.15"},
        "step_s": summary([milliseconds / 1000]),
        "ratio": {"median": 1.0, "q1": 1.0, "q3": 1.0},
        "first_step_s": 1.5,
        "peak_bytes": 400e6,
    } | changes


def case(name="W0", **changes):
    return {
        "name": name,
        "title": "a network",
        "input_shape": [28, 28, 1],
        "batch": 32,
        "timesteps": 20,
        "dtype": "float32",
    } | changes


def result(backend="tensorflow", **changes):
    return {
        "case": case(),
        "backend": backend,
        "machine": MACHINE,
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


def test_ratios_to_several_contenders_refer_to_their_sum():
    ours, one, other = [[6], [30]], [[1], [4]], [[2], [6]]
    assert ratios(ours, one, other)["median"] == (6 / 3 + 30 / 10) / 2


def test_ratios_need_the_same_rounds():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratios([[1], [2]], [[1]])


# Files


def test_results_of_other_cases_stay_in_the_file(tmp_path):
    path = tmp_path / "new" / "results.json"
    first, second = result(), result(rounds=3)
    results.store(path, "b", first)
    results.store(path, "a", first)
    results.store(path, "b", second)
    assert json.loads(path.read_text()) == {"a": first, "b": second}
    assert results.load(path.parent) == [{"a": first, "b": second}]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    results.store(path, "a", result())
    with pytest.raises(TypeError, match="not JSON serializable"):
        results.store(path, "a", result(rounds=object()))
    assert json.loads(path.read_text()) == {"a": result()}
    assert [x for x in tmp_path.iterdir() if x.suffix == ".json"] == [path]


def test_files_are_named_after_the_device():
    on_cpu = results.path_of(result("jax"))
    assert on_cpu == results.FOLDER / "amd-epyc-2-cores-jax.json"
    gpu = {"keras_snn": row(1, device="NVIDIA H100 80GB")}
    on_gpu = results.path_of(result("torch", contenders=gpu))
    assert on_gpu.name == "nvidia-h100-80gb-torch.json"


# Tables


def test_a_table_has_a_column_per_backend():
    relu = row(65.0, ratio={"median": 0.77, "q1": 0.74, "q3": 0.8})
    tensorflow = result(contenders={"keras_snn": row(84.7), "relu": relu})
    torch = result("torch", contenders={"keras_snn": row(2154)})
    printed = results.tables([{"W0": torch}, {"W0": tensorflow}])
    expected = """
| ms per step (ratio to `keras_snn`, quartiles) | TensorFlow | PyTorch |
| --- | ---: | ---: |
| `keras_snn` | 84.7 | 2154 |
| ReLU in place of the neurons | 65.0 (0.77, 0.74–0.80) |  |

| peak memory, MB (first step, s) | TensorFlow | PyTorch |
| --- | ---: | ---: |
| `keras_snn` | 400 (1.5) | 400 (1.5) |
"""
    assert expected in printed
    assert printed.count("### W0, float32: a network") == 1
    assert (
        "28x28x1, batch 32, 20 timesteps. keras 3.15, commit 01234" in printed
    )


def test_cases_with_other_titles_have_tables_of_their_own():
    old, new = result("torch"), result("jax")
    old["case"] = old["case"] | {"title": "an older network"}
    printed = results.tables([{"W0": new}, {"W0": old}])
    heads = [x for x in printed.splitlines() if x.startswith("###")]
    assert heads == [
        "### W0, float32: a network",
        "### W0, float32: an older network",
    ]


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(0.4567, "0.457"), (4.567, "4.57"), (45.67, "45.7"), (456.7, "457")],
)
def test_times_have_three_digits(milliseconds, expected):
    stored = {"W0": result(contenders={"keras_snn": row(milliseconds)})}
    assert f"| `keras_snn` | {expected} |" in results.tables([stored])


def test_numbers_of_timesteps_share_a_table():
    stored = {
        str(length): result(
            case=case("W2", timesteps=length),
            contenders={"keras_snn": row(length)},
        )
        for length in (16, 4)
    }
    expected = """
| `keras_snn`, 4 timesteps | 4.00 |
| `keras_snn`, 16 timesteps | 16.0 |"""
    printed = results.tables([stored])
    assert expected in printed
    assert "4, 16 timesteps. " in printed
    # Memory is shown for training steps alone.
    assert "peak memory" not in printed


def test_a_ratio_to_others_names_them():
    recurrent = row(9, of=["keras_snn", "products"])
    stored = {"W5": result(contenders={"RecurrentLIF": recurrent})}
    expected = "| RecurrentLIF (ratio to `keras_snn` and products) | 9.00 |"
    assert expected in results.tables([stored])


def test_import_times_have_a_table():
    imports = {"keras": {"median": 4.0}, "keras_snn": {"median": 0.25}}
    stored = [{"W0": result(import_s=imports)}, {"W0": result("jax")}]
    expected = """
| import, s | TensorFlow | JAX |
| --- | ---: | ---: |
| `keras` | 4.00 |  |
| `keras_snn`, after `keras` | 0.25 |  |"""
    assert expected in results.tables(stored)


def test_settings_that_change_the_speed_are_recorded(monkeypatch):
    settings = {"TF_ENABLE_ONEDNN_OPTS": "1", "OMP_NUM_THREADS": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTHER", "1")
    found = machine.describe()["environment"]
    assert found | settings == found
    assert "OTHER" not in found


def test_machines_and_cases_have_tables_of_their_own():
    other = result(machine=MACHINE | {"cpu": "Xeon", "cores": 4})
    neurons = result(case=case("W2"))
    half = result(case=case("W2", dtype="mixed_float16"))
    stored = [{"W0": result(), "W2": neurons, "half": half}, {"W0": other}]
    headings = [x for x in results.tables(stored).split("\n") if x[:1] == "#"]
    assert headings == [
        "## AMD EPYC, 2 cores",
        "### W0, float32: a network",
        "### W2, float32: a network",
        "### W2, mixed_float16: a network",
        "## Xeon, 4 cores",
        "### W0, float32: a network",
    ]


def test_unknown_memory_is_a_question_mark():
    contender = {"keras_snn": row(1, peak_bytes=None)}
    assert "| `keras_snn` | ? (1.5) |" in results.tables(
        [{"W0": result(contenders=contender)}]
    )


PAGE = """# Speed

<!-- CPU: begin -->
old
<!-- CPU: end -->

<!-- GPU: begin -->
<!-- GPU: end -->
"""


def test_a_page_gets_the_tables_of_each_device():
    gpu = result(contenders={"keras_snn": row(1, device="NVIDIA H100")})
    filled = results.fill(PAGE, [{"W0": result()}, {"W0": gpu}])
    before, after = filled.split("<!-- CPU: end -->")
    assert "old" not in before
    assert "| `keras_snn` | 84.7 |" in before
    assert "## NVIDIA H100" in after
    assert results.fill(filled, [{"W0": result()}, {"W0": gpu}]) == filled


def test_a_page_without_results_has_no_headings():
    filled = results.fill(PAGE, [])
    assert filled == PAGE.replace("old\n", "")


def test_the_page_agrees_with_the_stored_results():
    page = cli.PAGE.read_text("utf-8")
    message = "renew it with `python -m benchmarks docs`"
    assert results.fill(page, results.load()) == page, message


def test_every_contender_and_backend_has_a_label():
    names = {*contenders.OWN, *contenders.PEERS, *contenders.NEURONS}
    assert results.LABELS.keys() == {*names, "against"}
    assert tuple(results.BACKENDS) == contenders.BACKENDS


def test_notes_say_what_makes_numbers_doubtful():
    doubtful = result(
        contenders={"a": row(1), "b": row(1, device="gpu")},
        failed={"c": "no reason"},
        machine=MACHINE | {"load_average": [1.5]},
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
        ("--backend theano", "must be one of tensorflow, jax, torch"),
        ("--rounds 0", "must be an integer of at least 1. Received: 0"),
        ("--batch x", "must be an integer of at least 1. Received: x"),
        ("--contenders copy", "--contenders of W0 must be among keras_snn, "),
        ("--dtype float16", "invalid choice: 'float16'"),
        ("--against docs", "must be a folder that contains keras_snn"),
    ],
)
def test_bad_flags_are_refused_in_one_sentence(flags, message, capsys):
    with pytest.raises(SystemExit):
        cli.parse(flags.split())
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_results_go_into_a_folder(tmp_path, capsys):
    path = tmp_path / "results.json"
    path.write_text("{}")
    with pytest.raises(SystemExit):
        cli.parse(["--out", str(path)])
    assert (
        f"--out must be a folder. Received: {path}" in capsys.readouterr().err
    )


def test_a_folder_without_results_leaves_the_page_alone(
    tmp_path, capsys, monkeypatch
):
    page = tmp_path / "speed.md"
    page.write_text("tables")
    monkeypatch.setattr(cli, "PAGE", page)
    assert cli.main(["docs", "--out", str(tmp_path / "mistyped")]) == 1
    assert page.read_text() == "tables"
    assert "no results in the folder" in capsys.readouterr().err


def test_the_backend_of_the_environment_is_checked(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(SystemExit):
        cli.parse([])
    assert "Received: theano" in capsys.readouterr().err


def test_the_contenders_of_a_run():
    everything = ["keras_snn", "relu", "rnn", *contenders.PEERS]
    assert cli.parse([]).contenders == everything
    args = cli.parse(["--workload", "W5"])
    expected = ["keras_snn", *contenders.NEURONS, *contenders.PEERS]
    assert args.contenders == expected
    args = cli.parse(["--workload", "W2", "--contenders", "copy"])
    assert args.contenders == ["keras_snn", "copy"]
    args = cli.parse(["--against", str(machine.CHECKOUT)])
    assert args.contenders[:2] == ["keras_snn", "against"]


def test_help_names_every_workload(capsys):
    with pytest.raises(SystemExit):
        cli.parse(["--help"])
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in cases.CASES)


def test_table_prints_the_stored_results(tmp_path, capsys):
    results.store(tmp_path / "a.json", "W0", result())
    assert cli.main(["table", "--out", str(tmp_path)]) == 0
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


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"W0": {"case": 5}}', '{"W0": 5}']
)
@pytest.mark.parametrize("command", ["table", "plan", "measure"])
def test_a_damaged_file_is_named(command, text, tmp_path, capsys):
    (tmp_path / "cpu.json").write_text(text)
    assert cli.main([command, "--out", str(tmp_path)]) == 1
    assert "cpu.json` must hold results" in capsys.readouterr().err
