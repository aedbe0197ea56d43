"""The benchmarks measure what they say, and nothing where contenders differ."""

import dataclasses
import doctest
import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import reference as numpy_reference

from benchmarks import (
    cli,
    contenders,
    equality,
    machine,
    material,
    measure,
    memory,
    reference,
    report,
    scaling,
    stats,
    workers,
    workloads,
)
from benchmarks.contenders import keras_models, with_keras
from benchmarks.workloads import LIF, MEAN, NORM, POOL, Layer
from keras_snn import models

BACKEND = keras.config.backend()
QUICK = measure.Plan(rounds=2, steps=1, timeout=120)
# Every kind of layer, and so small that starting the processes takes longer.
TINY = (
    *(Layer("conv", 4), NORM, LIF, POOL, Layer("flatten")),
    *(Layer("dense", 16), LIF, Layer("dropout", 0.5), MEAN, Layer("dense", 3)),
)


def tiny_case(**changes):
    case = workloads.make_case("W0", batch=2, timesteps=3)
    return dataclasses.replace(
        case, **{"layers": TINY, "input_shape": (6, 4, 2)} | changes
    )


def installed(*names):
    return [name for name in names if contenders.missing(name) is None]


# Statistics


def test_summary_is_median_quartiles_and_range():
    expected = {"median": 3, "min": 1, "q1": 2, "q3": 4, "max": 9}
    assert stats.summary([9, 1, 3, 4, 2]) == expected


def test_summary_of_one_number_is_that_number():
    assert set(stats.summary([7.0]).values()) == {7.0}


def test_ratios_compare_within_a_round():
    # The machine was ten times slower in the second round.
    ours, other = [[1, 2, 3], [20, 20, 20]], [[4, 4, 4], [40, 40, 90]]
    ratio = stats.ratios(other, ours)
    assert ratio["per_round"] == [2, 2]
    assert (ratio["median"], ratio["min"], ratio["max"]) == (2, 2, 2)


@pytest.mark.parametrize("module", [stats, contenders])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_ratios_need_the_same_rounds():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        stats.ratios([[1], [2]], [[1]])


# Networks as data


def test_w0_has_the_weights_of_five_layer_snn():
    case = workloads.make_case("W0", batch=1, timesteps=20)
    weights = material.weights(case, material.TIMED, exact=False)
    shapes = [array.shape for arrays in weights for array in arrays]
    model = models.five_layer_snn()
    assert shapes == [tuple(x.shape) for x in model.trainable_variables]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("W0", (10,)), ("W1", (5, 7)), ("W2", (5, 7)), ("W3", (10,))],
)
def test_output_shapes(name, expected):
    case = workloads.make_case(name, size=7, batch=1, timesteps=5)
    assert workloads.output_shape(case) == expected


def test_case_survives_json():
    case = workloads.make_case("W3", batch=2, timesteps=4)
    fields = json.loads(json.dumps(case.to_json()))
    assert workloads.Case.from_json(fields) == case


def test_weights_survive_their_file(tmp_path):
    weights = material.weights(tiny_case(), material.EXACT, exact=True)
    material.save(tmp_path / "weights.npz", weights)
    for loaded, saved in zip(
        material.load(tmp_path / "weights.npz"), weights, strict=True
    ):
        assert len(loaded) == len(saved)
        assert all(map(np.array_equal, loaded, saved))


def test_channels_first_weights_give_the_same_products(rng):
    case = tiny_case()
    weights = material.weights(case, material.EXACT, exact=True)
    turned = material.channels_first(case, weights)
    image = rng.integers(2, size=(3, 2, 4)).astype("float32")
    last = image.reshape(-1) @ weights[5][0]
    first = image.transpose(2, 0, 1).reshape(-1) @ turned[5][0]
    np.testing.assert_array_equal(first, last)
    assert turned[-1][0] is weights[-1][0]


def test_exact_material_is_dyadic():
    case = tiny_case()
    weights = material.weights(case, material.EXACT, exact=True)
    for n in (0, 5, 9):
        assert all(np.all(array * 64 % 1 == 0) for array in weights[n])
        assert np.any(weights[n][0] % 1 != 0)
    current = material.sequences(tiny_case(layers=(LIF,)), exact=True)
    assert np.all(current * 64 % 1 == 0)


# The reference


def test_reference_neuron_is_that_of_the_suite(rng):
    current = rng.integers(-16, 65, size=(3, 8, 5)).astype("float32") / 16
    neuron = material.EXACT
    expected, _ = numpy_reference.lif(
        current, k=neuron.k, lam=neuron.lam, theta=neuron.theta
    )
    spikes = reference.lif(current, neuron)
    np.testing.assert_array_equal(spikes, expected)
    assert 0 < spikes.mean() < 1


def test_reference_refuses_numbers_that_would_round():
    current = np.ones((1, 30, 1), "float32") / 64
    with pytest.raises(ValueError, match="that float32 holds exactly"):
        reference.lif(current, material.EXACT)


def test_reference_convolution_is_keras_s(rng):
    x = rng.integers(2, size=(2, 3, 6, 4, 2)).astype("float32")
    kernel = rng.integers(-8, 9, size=(3, 3, 2, 5)).astype("float32") / 64
    expected = keras.ops.conv(x[:, 0], kernel, padding="same") + 1
    np.testing.assert_array_equal(
        reference.conv(x, kernel, np.ones(5, "float32"))[:, 0],
        keras.ops.convert_to_numpy(expected),
    )


@pytest.mark.parametrize("name", ["W0", "W1", "W2", "W3"])
def test_every_layer_fires_in_the_check(name):
    case = workloads.make_case(name, size=500, batch=2, timesteps=3)
    small = material.check_case(case)
    weights = material.weights(small, material.EXACT, exact=True)
    x = material.sequences(small, exact=True)
    spikes = reference.run(small, weights, x, material.EXACT)
    rates = equality.check_firing(small.layers, spikes)
    assert len(rates) == sum(layer == LIF for layer in case.layers)


# The check


def test_one_other_spike_is_found_and_located(rng):
    spikes = [rng.integers(2, size=(2, 3, 4)).astype("float32") for _ in "ab"]
    wrong = [array.copy() for array in spikes]
    wrong[1][1, 2, 3] = 1 - wrong[1][1, 2, 3]
    equality.check_spikes("x", TINY, spikes, spikes)
    message = r"x, layer 2 \(behind dense 16\): 1 of 24 spikes differ"
    with pytest.raises(equality.Different, match=message):
        equality.check_spikes("x", TINY, spikes, wrong)


def test_swapped_axes_are_found():
    spikes = [np.zeros((2, 3, 4)), np.zeros((2, 3, 4))]
    swapped = [array.swapaxes(0, 1) for array in spikes]
    with pytest.raises(equality.Different, match=r"shape \(2, 3, 4\)"):
        equality.check_spikes("x", TINY, spikes, swapped)


def test_a_missing_layer_is_found():
    with pytest.raises(equality.Different, match="2 layers of neurons"):
        equality.check_spikes("x", TINY, [np.zeros(1)] * 2, [np.zeros(1)])


@pytest.mark.parametrize("rate", [0, 1])
def test_silent_and_saturated_layers_prove_nothing(rate):
    spikes = [np.array([0, 1]), np.full(9, rate)]
    with pytest.raises(equality.Different, match="layer 2 .* must be in"):
        equality.check_firing(TINY, spikes)


def test_other_gradients_are_found():
    equality.check_gradients({"a": [1, 2], "b": [1.0001, 2]})
    with pytest.raises(equality.Different, match="b and a must have the same"):
        equality.check_gradients({"a": [1, 2], "b": [1.01, 2]})


@pytest.mark.parametrize("kind", ["keras_snn", "rnn"])
@pytest.mark.parametrize(
    ("layers", "shape"),
    [(TINY, (6, 4, 2)), ((LIF,), (20,))],
    ids=["network", "neurons"],
)
def test_keras_emits_the_spikes_of_the_reference(kind, layers, shape):
    check_kind(kind, tiny_case(layers=layers, input_shape=shape))


def check_kind(kind, case):
    case = material.check_case(case)
    weights = material.weights(case, material.EXACT, exact=True)
    x = material.sequences(case, exact=True)
    y = material.cotangent((case.batch, *workloads.output_shape(case)))
    contender = with_keras.Contender(kind, BACKEND, framework=None)
    received, norms = contender.check(case, weights, x, y, material.EXACT)
    expected = reference.run(case, weights, x, material.EXACT)
    equality.check_firing(case.layers, expected)
    equality.check_spikes(kind, case.layers, expected, received)
    assert len(norms) == (8 if case.learns else 1)
    assert min(norms) > 0


def test_relu_is_the_same_network_without_neurons():
    case = tiny_case()
    with_neurons, fired, _ = keras_models.build(
        "keras_snn", case, material.TIMED, encoded=True
    )
    without, _, layers = keras_models.build(
        "relu", case, material.TIMED, encoded=True
    )
    weights = material.weights(case, material.TIMED, exact=False)
    keras_models.set_weights(case, layers, weights)
    assert without.count_params() == with_neurons.count_params()
    assert without.output_shape == with_neurons.output_shape == (None, 3)
    assert len(fired) == 2
    names = [type(layer).__name__ for layer in without.layers]
    assert names.count("ReLU") == 2
    assert "LIF" not in names


def test_other_weights_stop_the_run(monkeypatch):
    save = material.save

    def save_other(path, weights):
        weights[0][0] += 1 / 64
        save(path, weights)

    monkeypatch.setattr(material, "save", save_other)
    case = workloads.make_case("W1", size=64, batch=2, timesteps=3)
    names = [f"keras_snn/{BACKEND}"]
    with pytest.raises(equality.Different, match=r"dense 64\): \d+ of 1280"):
        measure.check(case, names, QUICK, {})


# Workers


def test_the_parent_imports_no_framework():
    code = (
        "import sys, benchmarks.cli; "
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=workers.ROOT, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_library_that_is_not_installed_is_reported(monkeypatch):
    monkeypatch.setitem(contenders.PEERS, "no_such_library", BACKEND)
    failures = {}
    labels = {"no_such_library": "no_such_library"}
    with workers.started(labels, QUICK, False, failures) as (handles, _):
        assert not handles
    expected = {"no_such_library": "no_such_library is not installed"}
    assert failures == expected


def test_workers_of_one_gpu_share_it_and_know_their_backend():
    plain = workers.environment("rnn/jax", keep_memory=False)
    assert plain["KERAS_BACKEND"] == "jax"
    assert plain["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    keeping = workers.environment("snntorch", keep_memory=True)
    assert keeping["KERAS_BACKEND"] == "torch"
    assert keeping.items() >= workers.KEEP_MEMORY.items()


def test_a_worker_that_fails_says_why():
    handle = workers.Handle(f"keras_snn/{BACKEND}", timeout=60)
    try:
        with pytest.raises(workers.Failed, match="AttributeError.*no_such"):
            handle.ask("no_such_command")
        # Nothing was prepared; the worker goes on all the same.
        with pytest.raises(workers.Failed, match="TypeError"):
            handle.ask("steps", count=1)
        handle.process.stdin.close()
        handle.process.wait()
        assert handle.process.returncode == 0
    finally:
        handle.close()


def test_a_worker_that_takes_too_long_is_given_up():
    handle = workers.Handle(f"keras_snn/{BACKEND}", timeout=0.01)
    try:
        with pytest.raises(workers.Failed, match="within 0.01 s"):
            handle.ask("hello", tf32=False)
    finally:
        handle.close()


def test_a_worker_that_dies_is_reported():
    handle = workers.Handle(f"keras_snn/{BACKEND}", timeout=60)
    try:
        handle.process.kill()
        with pytest.raises(workers.Failed, match="ended with code -9"):
            handle.ask("hello", tf32=False)
    finally:
        handle.close()


@pytest.mark.skipif(
    not memory.reset_peak(), reason="the system keeps its peak of memory"
)
def test_peak_memory_sees_what_is_gone():
    # In a process of its own, in which nothing else comes and goes.
    code = """
import numpy as np
from benchmarks import memory


def use():
    array = np.ones(8_000_000)  # 64 MB
    array += 1


use()
before = memory.resident()
memory.reset_peak()
use()
assert memory.peak() - before > 50e6, memory.peak() - before
memory.reset_peak()
assert memory.peak() - before < 20e6, memory.peak() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=workers.ROOT)


# Whole runs


@pytest.mark.slow
def test_a_training_step_beside_the_peers():
    peers = installed("spikingjelly", "snntorch")
    if not peers:
        pytest.skip("neither spikingjelly nor snntorch is installed")
    names = [f"keras_snn/{BACKEND}", *peers]
    result = measure.run_case(tiny_case(), names, QUICK)
    assert result["failed"] == {}
    assert set(result["contenders"]) == set(names)
    assert set(result["check"]["gradient_norms"]) == set(names)
    for row in result["contenders"].values():
        assert np.shape(row["times_s"]) == (2, 1)
        assert np.min(row["times_s"]) > 0
        assert row["first_step_s"] > 0
        assert np.isfinite(row["first_loss"])
        ratio = row["ratios"][f"keras_snn/{BACKEND}"]["per_round"]
        assert len(ratio) == 2
    own = result["contenders"][f"keras_snn/{BACKEND}"]["ratios"]
    assert own[f"keras_snn/{BACKEND}"]["per_round"] == [1, 1]


@pytest.mark.slow
def test_the_command_line(tmp_path, capsys, monkeypatch):
    missing = contenders.missing
    monkeypatch.setattr(
        contenders,
        "missing",
        lambda name: "spyx" if name == "spyx" else missing(name),
    )
    path = tmp_path / "results.json"
    flags = "--workload W2 --batch 2 --timesteps 3 --size 50 --rounds 2"
    flags += f" --steps 1 --backend {BACKEND} --peers spyx --out {path}"
    flags += " --contenders keras_snn copy"
    assert cli.main(flags.split()) == 0
    printed = capsys.readouterr().out
    assert "same " in printed
    assert "not measured: spyx: " in printed
    results = json.loads(path.read_text())
    assert results["machine"]["cores"] == machine.cores()
    (result,) = results["results"]
    names = {f"{kind}/{BACKEND}" for kind in ("keras_snn", "copy")}
    assert set(result["contenders"]) == names
    assert set(result["failed"]) == {"spyx"}
    for name in names:
        assert name in printed
        assert result["contenders"][name]["versions"]
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.slow
def test_scaling_with_the_timesteps():
    result = scaling.run(
        tiny_case(),
        [BACKEND],
        QUICK,
        measure.silent,
        steps=(2, 4),
        first_steps=(2,),
    )
    row = result["contenders"][f"keras_snn/{BACKEND}"]
    assert set(row["first_step_s"]) == {2, 4}
    assert set(row["step_s"]) == {2, 4}
    assert f"keras_snn/{BACKEND}" in scaling.table(result)


# The command line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--workload W9", "--workload: must be one of W0, W1"),
        ("--backend theano", "--backend: must be one of tensorflow, jax"),
        ("--rounds 0", "--rounds: must be an integer of at least 1"),
        ("--batch x", "--batch: must be an integer of at least 1"),
        ("--size 7", "--size: must be left out except for W1, W2"),
        ("--contenders copy", "--contenders: must be one of keras_snn, relu"),
        ("--peers none spyx", "--peers: none must stand alone"),
        ("--dtype float16", "--dtype: must be one of float32, mixed_float16"),
        ("--scaling --workload W2", "--scaling: must go with W0"),
        ("--out no/such/x.json", "--out: must be a .json file in an existing"),
    ],
)
def test_bad_flags_are_refused_in_one_sentence(flags, message, capsys):
    with pytest.raises(SystemExit):
        cli.parse(flags.split())
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in last
    assert "Received: " in last


def test_defaults_depend_on_workload_and_machine(monkeypatch):
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    assert cli.parse(["--workload", "W2"]).timesteps == (4, 8, 16, 32)
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    args = cli.parse(["--workload", "W2", "--batch", "3"])
    assert (args.batch, args.timesteps, args.size) == (3, (20,), 25088)
    args = cli.parse(["--peers", "none", "--backend", "jax"])
    assert cli.names(args) == ["keras_snn/jax", "relu/jax", "rnn/jax"]


def test_what_makes_numbers_doubtful_is_said():
    row = {
        "device": "cpu",
        "ratios": {},
        "summary_s": stats.summary([1.0]),
        "first_step_s": 1.0,
        "peak_bytes": None,
    }
    result = {
        "contenders": {"a": row, "b": row | {"device": "gpu"}},
        "check": {"gradient_norms": {}},
        "failed": {"c": "no reason"},
        "stalled": {"memory": 0.25, "io": 0.0},
    }
    printed = report.case_table(result)
    assert "NOT COMPARABLE, different devices: a cpu, b gpu" in printed
    assert "not measured: c: no reason" in printed
    assert "DISTURBED: for 25% of the rounds" in printed
    assert "waited for memory" in printed
    assert "waited for io" not in printed


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    report.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Circular"):
        report.write_json(path, (loop := []).append(loop) or loop)
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_help_names_every_workload(capsys):
    with pytest.raises(SystemExit):
        cli.parse(["--help"])
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in workloads.WORKLOADS)


def test_every_peer_has_a_file():
    for name in contenders.PEERS:
        module = f"benchmarks.contenders.{name}"
        assert importlib.util.find_spec(module) is not None
