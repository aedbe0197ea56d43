"""The GPU's kernels, on machines without one: interpreted, and compiled."""

import importlib.util
import os
import subprocess
import sys

import keras
import pytest

pytestmark = [
    pytest.mark.skipif(
        keras.config.backend() != "torch", reason="PyTorch's kernels"
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None,
        reason="Triton is not installed",
    ),
]
# Every choice, float32 and half precision, more neurons than a block and a
# number that fills none, against the loops that the other tests check.
INTERPRETED = """
import dataclasses
import itertools
import torch
from keras_snn import dynamics, surrogates
from keras_snn.dynamics import torch as eager, triton as kernels


@dataclasses.dataclass(frozen=True)
class Own(surrogates.Surrogate):  # one that the kernel does not know
    def smooth(self, distance):
        return distance

    def derivative(self, distance):
        return 1 / (1 + abs(distance))


kernels.LARGEST_BLOCK = 4
torch.manual_seed(0)
own = Own()
gated = surrogates.SpikeGated
choices = itertools.product(
    [*surrogates.NAMES, gated("tanh"), own, gated(own)],
    dynamics.RESETS,
    (False, True),
    ((False, torch.float32), (True, torch.float32), (True, torch.float16)),
)
for surrogate, reset, detached, (masked, dtype) in choices:
    if dtype == torch.float16 and surrogate != "arctan":
        continue
    case = surrogate, reset, detached, masked, dtype
    neuron = dynamics.Neuron(0.5, 0.5, 1.0, surrogate, reset, detached)
    current = (torch.randint(-16, 49, (2, 5, 5)) / 16).to(dtype)
    start = torch.randint(-16, 49, (2, 5)) / 16
    mask = torch.rand(2, 5) < 0.7 if masked else None
    expected = eager.forward(neuron, current, start, mask)
    found = kernels.forward(neuron, current, start, mask)
    assert 0 < expected[0].float().mean() < 1
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs), case

    spikes, _, nothing = kernels.forward(neuron, current, start, mask, False)
    assert torch.equal(spikes, expected[0]) and nothing is None, case

    upstream = torch.randn(2, 5, 5).to(dtype), torch.randn(2, 5)
    kept = expected[2]
    expected = eager.backward(neuron, kept, *upstream, mask)
    found = kernels.backward(neuron, kept, *upstream, mask)
    for ours, theirs in zip(found, expected, strict=True):
        error = (ours - theirs).float().norm() / theirs.float().norm()
        # Five timesteps rounded in another order.
        assert error < (1e-6 if dtype == torch.float32 else 1e-3), case

    current[0, 1, 2] = torch.nan
    for ours, theirs in zip(
        kernels.forward(neuron, current, start, None),
        eager.forward(neuron, current, start, None),
        strict=True,
    ):
        assert ours.isnan().any()
        assert torch.equal(ours.nan_to_num(9), theirs.nan_to_num(9)), case
print("every choice agrees")
"""
COMPILED = """
import itertools
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from keras_snn.dynamics import triton as kernels

NEURON = {"k": 0.8, "lam": 0.2, "theta": 1.0, "BLOCK": 512}
HOPPER = GPUTarget("cuda", 90, 32)


def build(kernel, dtype, constants):
    names = kernel.arg_names
    types = dict.fromkeys(names, "*" + dtype)
    for name in ("initial", "final", "final_gradient", "initial_gradient"):
        if name in types:
            types[name] = "*fp32"
    types |= {"mask": "*i1", "timesteps": "i32", "units": "i32"}
    types |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, types, constexprs=constants)
    assert compile(source, target=HOPPER).asm["cubin"]


for dtype, reset, masked in itertools.product(
    ("fp32", "fp16", "bf16"), ("zero", "subtract", "none"), (False, True)
):
    options = NEURON | {"RESET": reset, "MASKED": masked}
    build(kernels._forward_kernel, dtype, options | {"KEEP": not masked})
    surrogate = {"zero": "arctan", "subtract": "sigmoid", "none": "hardtanh"}
    options |= {"a": 2.0, "GATED": masked, "DETACHED": masked}
    options |= {"SURROGATE": surrogate[reset]}
    build(kernels._backward_kernel, dtype, options)
print("every kernel compiles")
"""


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_loops():
    assert "every choice agrees" in run(INTERPRETED, TRITON_INTERPRET="1")


@pytest.mark.slow
def test_kernels_compile_for_a_gpu(tmp_path):
    printed = run(COMPILED, TRITON_CACHE_DIR=str(tmp_path))
    assert "every kernel compiles" in printed
