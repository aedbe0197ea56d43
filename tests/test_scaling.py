"""Several devices: the scripts of the page, and layers on two replicas."""

import contextlib
import importlib.util
import json
import os
import pathlib
import pickle
import re
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import reference
from backend import gradients, to_numpy
from keras import ops

from keras_snn.encoders import PoissonEncoder
from keras_snn.layers import BNTT, TDBN

ROOT = pathlib.Path(__file__).parents[1]
HELPERS = ROOT / "tests/scaling"
BACKEND = keras.config.backend()
PAGE = (ROOT / "docs/scaling.md").read_text("utf-8")
SCRIPTS = dict(
    re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, re.M | re.S)
)
KINDS = {
    "jax_devices.py": "jax",
    "jax_machines.py": "jax",
    "tf_devices.py": "tensorflow",
    "tf_machines.py": "tensorflow",
    "torch_devices.py": "torch",
}


def of_this_backend(*scripts):
    return pytest.mark.parametrize(
        "script",
        [
            pytest.param(
                script,
                marks=pytest.mark.skipif(
                    KINDS[script] != BACKEND, reason="another backend's script"
                ),
            )
            for script in scripts
        ],
    )


def test_every_script_of_the_page_is_run_below():
    assert SCRIPTS.keys() == {"network.py", "sweep.py", *KINDS}
    assert PAGE.count("```python") == len(SCRIPTS)
    for name, code in SCRIPTS.items():
        compile(code, name, "exec")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Folder:
    """A folder with the scripts of the page, and what they are run with."""

    def __init__(self, path):
        self.path, self.processes = path, []
        for name, code in SCRIPTS.items():
            (path / name).write_text(code)

    def start(self, script, losses="losses.json", killed_at=None, **variables):
        command = [sys.executable]
        if script == "torch_devices.py":
            command += ["-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc-per-node", "2"]
        command += [HELPERS / "run_block.py", script, losses]
        command += [str(killed_at)] if killed_at else []
        paths = [str(ROOT), os.environ.get("PYTHONPATH")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        if script == "jax_devices.py":
            flags = "--xla_force_host_platform_device_count=2"
            variables["XLA_FLAGS"] = flags
        with open(self.path / f"{losses}.log", "w") as log:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env=os.environ | {"KERAS_BACKEND": BACKEND} | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def losses(self, *processes, name="losses.json"):
        for process in processes:
            failed = process.wait(timeout=600)
            assert not failed, (self.path / f"{name}.log").read_text()[-9000:]
        return json.loads((self.path / name).read_text())

    def close(self):
        for process in self.processes:
            process.terminate()  # does nothing if it has ended
            process.wait(timeout=60)

    def run(self, script, **options):
        return self.losses(self.start(script, **options))


@pytest.fixture
def folder(tmp_path):
    with contextlib.closing(Folder(tmp_path)) as folder:
        yield folder


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    one = Folder(tmp_path_factory.mktemp("one"))
    (one.path / "one.py").write_text(
        "from network import train\nlosses = train()\n"
    )
    losses = one.run("one.py")
    assert len(losses) == 20
    assert losses[-1] < losses[0] / 2
    return losses


@pytest.mark.slow
@of_this_backend("jax_devices.py", "tf_devices.py", "torch_devices.py")
def test_two_devices_take_the_steps_of_one_also_if_killed(
    script, folder, on_one_device
):
    whole = folder.run(script)
    np.testing.assert_allclose(whole, on_one_device, rtol=0, atol=1e-4)
    (folder.path / "digits-0.8.keras").unlink()
    killed = folder.start(script, killed_at=12)
    # A signal ended the process, or made torchrun fail.
    assert killed.wait(timeout=600) != 0
    rest = folder.run(script)
    assert (folder.path / "killed").exists()
    # Two of four epochs were saved. The rest repeats to the last digits.
    np.testing.assert_allclose(rest, whole[10:], rtol=1e-6)


@pytest.mark.slow
@of_this_backend("jax_machines.py", "tf_machines.py")
def test_two_machines_take_the_steps_of_one_device(
    script, folder, on_one_device
):
    ports = free_port(), free_port()
    addresses = [f"127.0.0.1:{port}" for port in ports]

    def variables(index):
        if BACKEND == "tensorflow":
            task = {"type": "worker", "index": index}
            cluster = {"cluster": {"worker": addresses}, "task": task}
            return {"TF_CONFIG": json.dumps(cluster)}
        return {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses[0],
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        }

    processes = [
        folder.start(script, losses=f"{index}.json", **variables(index))
        for index in (0, 1)
    ]
    found = folder.losses(*processes, name="0.json")
    np.testing.assert_allclose(found, on_one_device, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)
def test_a_sweep_gives_the_numbers_of_single_runs(folder, on_one_device):
    found = folder.run("sweep.py", RAY_ADDRESS="local")
    assert len(found) == 2
    np.testing.assert_allclose(found[1], on_one_device, rtol=0, atol=1e-4)
    assert found[0] != found[1]


# A batch of five, on replicas that get three and two, or all and none.
TIMESTEPS = 4
MAKE = {
    "BNTT": lambda **kw: BNTT(TIMESTEPS, **kw),
    "TDBN": lambda **kw: TDBN(0.5, **kw),
}
AXES = {"BNTT": (0, 2), "TDBN": (0, 1, 2)}
CASES = [
    (kind, dtype, masked, first)
    for kind in MAKE
    for dtype in ("float32", "float64")
    for masked in (False, True)
    for first in (3, 5)
]


def batch(dtype, masked):
    rng = np.random.default_rng(0)
    x = 3 + 2 * rng.normal(size=(5, TIMESTEPS, 3, 2))
    mask = rng.random((5, TIMESTEPS)) < 0.6
    at_output = rng.normal(size=x.shape)
    return x.astype(dtype), at_output.astype(dtype), mask if masked else None


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    """The results of all cases on two replicas."""
    folder = tmp_path_factory.mktemp("replicas")
    jobs = [
        (kind, first, dtype, *batch(dtype, masked))
        for kind, dtype, masked, first in CASES
    ]
    (folder / "jobs").write_bytes(pickle.dumps(jobs))
    subprocess.run(
        [sys.executable, HELPERS / "replicas.py", "jobs", "results"],
        check=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": BACKEND},
        stdout=subprocess.DEVNULL,
    )
    noise, results = pickle.loads((folder / "results").read_bytes())
    return noise, dict(zip(CASES, results, strict=True))


replicated = pytest.mark.skipif(
    BACKEND == "jax", reason="JAX runs one model on all devices"
)


def on_one(kind, x, at_output, mask):
    """Gradients of one layer on the whole batch."""
    layer = MAKE[kind](dtype=str(x.dtype))
    layer.build(x.shape)
    weights = [to_numpy(w).astype(x.dtype) for w in layer.trainable_variables]
    fixed = [ops.convert_to_tensor(v) for v in layer.non_trainable_variables]

    def function(x, *weights):
        output, _ = layer.stateless_call(
            list(weights), fixed, x, training=True, mask=mask
        )
        return (output,)

    return gradients(function, [x, *weights], [at_output.astype("float32")])


@pytest.mark.slow
@replicated
@pytest.mark.parametrize("case", CASES, ids=str)
def test_synchronized_replicas_are_one_layer_on_the_whole_batch(replicas, case):
    kind, dtype, masked, _ = case
    x, at_output, mask = batch(dtype, masked)
    layer = MAKE[kind]()
    outputs, at_x, at_weights, states = replicas[1][case]
    axes = AXES[kind]
    expected, mean, variance = reference.batch_norm(
        x, axes, layer.epsilon, mask
    )
    factor = 0.5 if kind == "TDBN" else 1
    output = np.concatenate(outputs)
    assert output.dtype == dtype
    close = {"rtol": 0, "atol": 1e-5 if dtype == "float32" else 1e-12}
    np.testing.assert_allclose(output, factor * expected, **close)
    for state in states:  # of each replica
        for moving, initial, value in zip(
            state, (0, 1), (mean, variance), strict=True
        ):
            moved = 0.9 * initial + 0.1 * np.squeeze(value)
            np.testing.assert_allclose(moving, moved, **close)
    on_whole = on_one(kind, x, at_output, mask)
    found = [np.concatenate(at_x), *map(sum, zip(*at_weights, strict=True))]
    for ours, theirs in zip(found, on_whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@replicated
def test_replicas_draw_different_noise_and_the_first_as_if_alone(replicas):
    gray = np.full((4, 50), 0.5, "float32")
    encoder = PoissonEncoder(6, seed=3)
    alone = [to_numpy(encoder(gray)) for _ in range(2)]
    first, second = replicas[0]
    np.testing.assert_array_equal(first, alone)
    # Two fair coins agree half the time: five standard errors of a binomial.
    for draw in second:
        for other in first:
            agreement = np.mean(draw == other)
            assert agreement == pytest.approx(0.5, abs=2.5 / draw.size**0.5)


ENCODE = """
import keras
import numpy as np
from keras_snn.encoders import PoissonEncoder

devices = keras.distribution.list_devices()
assert len(devices) == 2
parallel = keras.distribution.DataParallel(devices=devices)
keras.distribution.set_distribution(parallel)
inputs = keras.Input((50,))
model = keras.Model(inputs, PoissonEncoder(6, seed=3)(inputs))
gray = np.full((4, 50), 0.5, "float32")
losses = model.predict(gray, verbose=0).tolist()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    BACKEND != "jax", reason="JAX runs one model on all devices"
)
def test_noise_on_two_jax_devices_is_that_of_one(folder):
    (folder.path / "jax_devices.py").write_text(ENCODE)
    gray = np.full((4, 50), 0.5, "float32")
    alone = to_numpy(PoissonEncoder(6, seed=3)(gray))
    np.testing.assert_array_equal(folder.run("jax_devices.py"), alone)
