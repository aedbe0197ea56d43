"""Contenders run in processes of their own, take turns, and are measured."""

import dataclasses
import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from benchmarks import cases, check, cli, contenders, machine
from benchmarks.cases import LIF, MEAN, NORM, POOL, Layer
from benchmarks.frameworks import CLEAR
from benchmarks.measure import Race, import_times, measure
from benchmarks.workers import Failed, Process, Worker

BACKEND = keras.config.backend()
# Every kind of layer.
TINY = (
    *(Layer("conv", 4), NORM, LIF, POOL, Layer("flatten")),
    *(Layer("dense", 16), LIF, Layer("dropout", 0.5), MEAN, Layer("dense", 3)),
)


@pytest.fixture
def tiny_case():
    case = cases.make("W3", on_gpu=False, batch=2, timesteps=3)
    return dataclasses.replace(case, layers=TINY, input_shape=(6, 4, 2))


@pytest.fixture
def start():
    processes = []

    def make(name, against=None, **options):
        worker = functools.partial(Worker, name, BACKEND, against)
        processes.append(Process(worker, BACKEND, **options))
        return processes[-1]

    yield make
    for process in processes:
        process.close()


# Processes


def test_a_missing_library_is_reported(monkeypatch):
    monkeypatch.setitem(contenders.PEERS, "no_such_library", BACKEND)
    with Race.of_steps(["no_such_library"], BACKEND) as race:
        assert not race.processes
    expected = {"no_such_library": "no_such_library is not installed"}
    assert race.failed == expected


def test_a_slow_answer_is_not_waited_for(start):
    process = start("keras_snn", timeout=0.01)
    with pytest.raises(Failed, match="no answer within 0.01 s"):
        process.hear()


def test_a_dead_process_is_reported(start):
    process = start("keras_snn")
    process.process.kill()
    with pytest.raises(Failed, match="ended with code -9"):
        process.hear()
    with pytest.raises(Failed, match="ended with code -9"):
        process.ask("memory")


@pytest.mark.slow
def test_an_error_is_reported_and_the_process_goes_on(start):
    process = start("keras_snn")
    assert process.hear()["versions"]["keras"] == keras.__version__
    for _ in range(2):  # nothing was prepared
        with pytest.raises(Failed, match="TypeError: 'NoneType'"):
            process.ask("steps", 1)


@pytest.fixture
def other_checkout(tmp_path):
    """This `keras_snn` with another version, whose `LIF` ignores `k`."""
    package = tmp_path / "keras_snn"
    package.mkdir()
    (package / "__init__.py").write_text(f"""
__path__ = [{str(machine.CHECKOUT / "keras_snn")!r}]
__version__ = "0.0.other"

from keras_snn import layers

LIF = layers.LIF
layers.LIF = lambda **constants: LIF(**constants | {{"k": 0.75}})
""")
    return str(tmp_path)


@pytest.mark.slow
def test_against_takes_keras_snn_from_the_other_checkout(start, other_checkout):
    process = start("against", against=other_checkout)
    assert process.hear()["versions"]["keras_snn"] == "0.0.other"


def test_errors_do_not_name_the_folders_of_the_machine(start, tmp_path):
    (tmp_path / "keras_snn").mkdir()
    (tmp_path / "keras_snn" / "__init__.py").write_text("from . import lost")
    process = start("against", against=str(tmp_path))
    with pytest.raises(Failed, match=r"ImportError: .*\(__init__.py\)"):
        process.hear()


@pytest.mark.skipif(not CLEAR.exists(), reason="Linux alone resets the peak")
def test_peak_memory_includes_freed_arrays():
    # A new process, in which nothing else is allocated or freed.
    code = """
import numpy as np
from benchmarks.frameworks import CPU


def use():
    array = np.ones(8_000_000)  # 64 MB
    array += 1


use()
before = CPU().in_use()
peak = CPU().peak_of(use)
assert peak - before > 50e6, peak - before
peak = CPU().peak_of(lambda: None)
assert peak - before < 20e6, peak - before
"""
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, cwd=machine.CHECKOUT)


# Whole runs


@pytest.mark.slow
def test_different_neurons_stop_the_run(tiny_case, other_checkout):
    names = ["keras_snn", "against"]
    message = r"against and keras_snn differ in \d+ of \d+ spikes of layer 1"
    with pytest.raises(check.Different, match=message):
        measure(tiny_case, names, BACKEND, against=other_checkout)


@pytest.mark.slow
def test_a_training_step_beside_the_peers(tiny_case):
    peers = ("spikingjelly", "snntorch")
    peers = [x for x in peers if contenders.missing(x, BACKEND) is None]
    names = ["keras_snn", *peers]
    result = measure(tiny_case, names, BACKEND, rounds=2, steps=1)
    assert result["failed"] == {}
    assert list(result["contenders"]) == names
    checked = names if peers else [*names, "rnn"]
    assert list(result["check"]["gradient_norms"]) == checked
    for row in result["contenders"].values():
        assert 0 < row["step_s"]["min"] <= row["step_s"]["max"]
        assert 0 < row["ratio"]["min"] <= row["ratio"]["max"]
        assert row["first_step_s"] > 0
        assert np.isfinite(row["first_loss"])
    ratio = result["contenders"]["keras_snn"]["ratio"]
    assert set(ratio.values()) == {1}


@pytest.mark.slow
def test_ratios_refer_to_the_first_contender_alone(tiny_case, monkeypatch):
    missing = contenders.missing

    def without_first(name, backend):
        return "keras" if name == "keras_snn" else missing(name, backend)

    monkeypatch.setattr(contenders, "missing", without_first)
    names = ["keras_snn", "relu", "rnn"]
    result = measure(tiny_case, names, BACKEND, rounds=1, steps=1)
    assert list(result["contenders"]) == ["relu", "rnn"]
    for row in result["contenders"].values():
        assert "ratio" not in row


@pytest.mark.slow
def test_the_command_line(tmp_path, capsys, monkeypatch):
    missing = contenders.missing

    def without_spyx(name, backend):
        return "spyx" if name == "spyx" else missing(name, backend)

    monkeypatch.setattr(contenders, "missing", without_spyx)
    flags = f"--workload W2 --smoke --backend {BACKEND} --out {tmp_path}"
    assert cli.main([*flags.split(), "--contenders", "copy", "spyx"]) == 0
    printed = capsys.readouterr().out
    assert "| copies of the same bytes | " in printed
    assert "not measured: spyx: spyx is not installed" in printed
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    (result,) = json.loads(text).values()
    assert set(result["contenders"]) == {"keras_snn", "copy"}
    assert set(result["failed"]) == {"spyx"}
    assert result["case"]["input_shape"] == [25088]
    assert result["machine"]["cores"] == machine.cores()
    for row in result["contenders"].values():
        assert row["versions"]["keras"] == keras.__version__
    assert str(machine.CHECKOUT) not in text
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_imports_run_in_fresh_processes(monkeypatch):
    monkeypatch.setattr("benchmarks.measure.IMPORT_RUNS", 1)
    times = import_times(BACKEND)
    # Keras is imported here already, so it would take no time.
    assert times["keras"]["median"] > 0.1
    assert 0 < times["keras_snn"]["median"] < times["keras"]["median"]


def test_imports_are_timed_after_compilation_to_bytecode(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    printed = iter(["9 5", "3 1", "2 1", "4 1"])

    def run(command, env, **options):
        del options
        assert "PYTHONDONTWRITEBYTECODE" not in env
        return subprocess.CompletedProcess(command, 0, next(printed))

    monkeypatch.setattr("benchmarks.measure.subprocess.run", run)
    times = import_times(BACKEND)
    assert times["keras"]["max"] == 4
    assert times["keras_snn"]["max"] == 1
