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
# Every choice and precision, more neurons than a block and a number that fills
# none, against the loops that the other tests check.
INTERPRETED = """
import dataclasses
import itertools
import torch
from keras_snn import dynamics, surrogates
from keras_snn.dynamics import torch_loop as eager, triton as kernels


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
    (
        (False, torch.float32),
        (True, torch.float32),
        (True, torch.float16),
        (False, torch.float64),
    ),
)
# Five timesteps, rounded in another order.
tolerances = {torch.float16: 1e-3, torch.float32: 1e-6, torch.float64: 1e-14}
for surrogate, reset, detached, (masked, dtype) in choices:
    if dtype == torch.float16 and surrogate != "arctan":
        continue
    case = surrogate, reset, detached, masked, dtype
    double = dtype == torch.float64
    # float32 would round the constants for double precision.
    constants = (0.8, 0.3, 1.1) if double else (0.5, 0.5, 1.0)
    neuron = dynamics.Neuron(*constants, surrogate, reset, detached)
    current = (torch.randint(-16, 49, (2, 5, 5)) / 16).to(dtype)
    start = torch.randint(-16, 49, (2, 5)) / 16
    start = start.to(dtype) if double else start
    mask = torch.rand(2, 5) < 0.7 if masked else None
    expected = eager.forward(neuron, current, start, mask)
    found = kernels.forward(neuron, current, start, mask)
    assert 0 < expected[0].float().mean() < 1
    for ours, theirs in zip(found, expected, strict=True):
        if double:  # Rounded in another order.
            assert (ours - theirs).abs().max() < 1e-14, case
        else:
            assert torch.equal(ours, theirs), case

    spikes, _, nothing = kernels.forward(neuron, current, start, mask, False)
    assert torch.equal(spikes, expected[0]) and nothing is None, case

    upstream = torch.randn(2, 5, 5).to(dtype), torch.randn(2, 5).to(start)
    kept = expected[2]
    expected = eager.backward(neuron, kept, *upstream, mask)
    found = kernels.backward(neuron, kept, *upstream, mask)
    for ours, theirs in zip(found, expected, strict=True):
        error = (ours - theirs).double().norm() / theirs.double().norm()
        assert error < tolerances[dtype], case

    current[0, 1, 2] = torch.nan
    for ours, theirs in zip(
        kernels.forward(neuron, current, start, None),
        eager.forward(neuron, current, start, None),
        strict=True,
    ):
        assert ours.isnan().any()
        difference = ours.nan_to_num(9) - theirs.nan_to_num(9)
        assert difference.abs().max() <= (1e-14 if double else 0), case
print("every choice agrees")
"""
COMPILED = """
import itertools
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from keras_snn.dynamics import triton as kernels

HOPPER = GPUTarget("cuda", 90, 32)


def build(kernel, dtype, constants):
    names = kernel.arg_names
    types = dict.fromkeys(names, "*" + dtype)
    for name in ("initial", "final", "final_gradient", "initial_gradient"):
        if name in types:
            types[name] = "*fp64" if dtype == "fp64" else "*fp32"
    types |= {"mask": "*i1", "timesteps": "i32", "units": "i32"}
    types |= {name: "i64" for name in kernels.CONSTANTS if name in types}
    types |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, types, constexprs=constants)
    assert compile(source, target=HOPPER).asm["cubin"]


for dtype, reset, masked in itertools.product(
    ("fp32", "fp16", "bf16", "fp64"),
    ("zero", "subtract", "none"),
    (False, True),
):
    options = {"RESET": reset, "MASKED": masked, "BLOCK": 512}
    build(kernels._forward_kernel, dtype, options | {"KEEP": not masked})
    surrogate = {"zero": "arctan", "subtract": "sigmoid", "none": "hardtanh"}
    options |= {"GATED": masked, "DETACHED": masked}
    options |= {"SURROGATE": surrogate[reset]}
    build(kernels._backward_kernel, dtype, options)
print("every kernel compiles")
"""
# A kernel is compiled anew for each value of a `constexpr`, and of an integer
# that 16 divides unless it is not specialized.
SHARED = """
from triton import language
from keras_snn.dynamics import torch_loop, triton as kernels

assert torch_loop._kernels() is kernels
for kernel in (kernels._forward_kernel, kernels._backward_kernel):
    constants = [p for p in kernel.params if p.name in kernels.CONSTANTS]
    assert len(constants) >= 3
    for parameter in constants:
        assert not parameter.is_constexpr, parameter.name
        assert parameter.do_not_specialize, parameter.name
        # An integer below 2**31 would be one of 32 bits.
        assert kernel.fn.__annotations__[parameter.name] is language.int64
print("neurons share kernels")
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
def test_neurons_share_kernels():
    assert "neurons share kernels" in run(SHARED)


@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_loops():
    assert "every choice agrees" in run(INTERPRETED, TRITON_INTERPRET="1")


@pytest.mark.slow
def test_kernels_compile_for_a_gpu(tmp_path):
    printed = run(COMPILED, TRITON_CACHE_DIR=str(tmp_path))
    assert "every kernel compiles" in printed
