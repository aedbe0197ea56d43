"""The GPU's kernels, on machines without one: interpreted, and compiled."""

import importlib.util
import os
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(x) is None for x in ("torch", "triton")),
    reason="PyTorch and Triton are not installed",
)
on_torch = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's kernels"
)
# Every choice and precision, against the loops that the other tests check. The
# last block is not full, and in float32 and float64 it follows a full one.
# `Own` stands for all surrogates that the kernels do not know.
INTERPRETED = """
import dataclasses
import itertools
import torch
from keras_snn import dynamics, surrogates
from keras_snn.dynamics import (
    torch_adjoint,
    torch_gpu as kernels,
    torch_loop,
)
from keras_snn.dynamics import triton


@dataclasses.dataclass(frozen=True)
class Own(surrogates.Surrogate):  # one that the kernel does not know
    def smooth(self, distance):
        return distance

    def derivative(self, distance):
        return 1 / (1 + abs(distance))


triton.BLOCK_BYTES = 16
torch.manual_seed(0)


def flat(found):
    first, *others = found
    return [first, *itertools.chain(*(x or () for x in others))]


own = Own()
known = "sigmoid", "tanh", "hardtanh", "arctan"
gated = surrogates.SpikeGated
choices = itertools.product(
    [*known, gated("tanh"), own, gated(own)],
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
    # Detaching leaves out the same term at any precision.
    if dtype == torch.float64 and detached:
        continue
    case = surrogate, reset, detached, masked, dtype
    double = dtype == torch.float64
    # float32 would round the constants for double precision.
    constants = (0.8, 0.3, 1.1) if double else (0.5, 0.5, 1.0)
    choices = surrogate, reset, detached
    neuron = dynamics.Neuron(*constants, *choices).system()
    current = (torch.randint(-16, 49, (2, 5, 5)) / 16).to(dtype)
    start = torch.randint(-16, 49, (2, 5)) / 16
    start = start.to(dtype) if double else start
    mask = torch.rand(2, 5) < 0.7 if masked else None
    fired = torch_loop.forward(neuron, current, [start], mask)[0]
    assert 0 < fired.float().mean() < 1
    ends = torch.randn(2, 5).to(start)
    for states, at_ends in (([start], [ends]), (None, None)):
        arguments = neuron, current, states, mask
        expected = torch_loop.forward(*arguments)
        kept = expected[2]
        for keep in (True, False):
            found = kernels.forward(*arguments, keep=keep)
            assert len(found[2]) == keep, case
            # Double precision is rounded in another order.
            for ours, theirs in zip(flat(found), flat(expected), strict=False):
                error = (ours - theirs).abs().max()
                assert error <= (1e-14 if double else 0), case

        upstream = torch.randn(2, 5, 5).to(dtype), at_ends
        expected = torch_adjoint.backward(neuron, kept, *upstream, mask)
        found = kernels.backward(neuron, kept, *upstream, mask)
        assert (found[1] is None) == (states is None), case
        pairs = zip(flat(found), flat(expected), strict=True)
        for ours, theirs in pairs:
            error = (ours - theirs).double().norm() / theirs.double().norm()
            assert error < tolerances[dtype], case

    current[0, 1, 2] = torch.nan
    for ours, theirs in zip(
        flat(kernels.forward(neuron, current, [start], None)),
        flat(torch_loop.forward(neuron, current, [start], None)),
        strict=True,
    ):
        assert ours.isnan().any()
        difference = ours.nan_to_num(9) - theirs.nan_to_num(9)
        assert difference.abs().max() <= (1e-14 if double else 0), case

# No timesteps, and a state of another dtype than its current.
states = [torch.rand(2, 5).double()]
for timesteps in (0, 5):
    current = torch.rand(2, timesteps, 5)
    spikes, (final,), kept = kernels.forward(neuron, current, states, None)
    assert final.dtype == torch.float64
    upstream = torch.ones_like(current), states
    _, (first,), _ = kernels.backward(neuron, kept, *upstream, None)
    assert first.dtype == torch.float64
    if not timesteps:
        assert torch.equal(final, states[0]) and torch.equal(first, states[0])

# Potentials that the dtype of the currents cannot hold: the surrogate's
# derivative is 0 there.
neuron = dynamics.Neuron(0.5, 4.0, 1.0, "arctan").system()
for size, dtype in ((2e4, torch.float16), (torch.inf, torch.float32)):
    for sign in (1, -1):
        current = torch.full((1, 3, 1), sign * size, dtype=dtype)
        start = [torch.zeros(1, 1)]
        kept = kernels.forward(neuron, current, start, None)[2]
        upstream = torch.ones_like(current), start
        for found in flat(kernels.backward(neuron, kept, *upstream, None)):
            assert not found.any(), (sign, dtype)
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


for dtype, reset, masked, at_rest in itertools.product(
    ("fp32", "fp16", "bf16", "fp64"),
    ("zero", "subtract", "none"),
    (False, True),
    (False, True),
):
    block = kernels.BLOCK_BYTES // (int(dtype[-2:]) // 8)
    options = {"RESET": reset, "MASKED": masked, "BLOCK": block}
    states = {"KEEP": not masked, "AT_REST": at_rest}
    build(kernels.forward_kernel, dtype, options | states)
    surrogate = {"zero": "arctan", "subtract": "sigmoid", "none": "hardtanh"}
    options |= {"GATED": masked, "DETACHED": masked}
    options |= {"SURROGATE": surrogate[reset], "ONLY_SPIKES": at_rest}
    build(kernels.backward_kernel, dtype, options)
print("every kernel compiles")
"""
# The kernels as JAX calls them. Triton's interpreter, which takes PyTorch's
# tensors, stands in for `jax_triton`.
FROM_JAX = """
import itertools
import sys
import types
import jax
import numpy as np
import torch
from keras_snn import dynamics, surrogates

jax.config.update("jax_enable_x64", True)


def triton_call(*arguments, kernel, out_shape, grid, **options):
    *arrays, timesteps, units = arguments

    def run(*arrays):
        tensors = [torch.from_numpy(np.array(x)) for x in arrays]
        outputs = [
            torch.from_numpy(np.empty(x.shape, x.dtype)) for x in out_shape
        ]
        kernel[grid](*tensors, timesteps, units, *outputs, **options)
        return [x.numpy() for x in outputs]

    return jax.pure_callback(run, list(out_shape), *arrays)


sys.modules["jax_triton"] = types.ModuleType("jax_triton")
sys.modules["jax_triton"].triton_call = triton_call
from keras_snn.dynamics import jax as fused, jax_gpu, triton

triton.BLOCK_BYTES = 16
jax.lax.platform_dependent = lambda *arrays, cuda, default: cuda(*arrays)
rng = np.random.default_rng(0)


def run(neuron, kernels, batched, current, potential, mask, *upstream):
    def at_rest(current):
        return fused.run(neuron.system(), current, None, mask)[0]

    def alone(current, upstream):
        spikes, pull = jax.vjp(at_rest, current)
        return spikes, *pull(upstream)

    def call(current, potential):
        return fused.run(neuron.system(), current, (potential,), mask)

    def both_passes(current, potential, *upstream):
        (spikes, (final,)), pull = jax.vjp(call, current, potential)
        first, last = upstream
        return spikes, final, *pull((first, (last,)))

    transform = jax.vmap if batched else lambda function: function
    fused._gpu_module = lambda: kernels
    jax.clear_caches()
    found = transform(both_passes)(current, potential, *upstream)
    spikes, (final,) = transform(call)(current, potential)
    from_rest = transform(alone)(current, upstream[0])
    return *found, *from_rest, spikes, final


known = "sigmoid", "tanh", "hardtanh", "arctan"
gated = surrogates.SpikeGated
for surrogate, reset, masked, dtype, batched in itertools.product(
    [*known, "gaussian", gated("tanh")],
    dynamics.RESETS,
    (False, True),
    ("float32", "float64"),
    (False, True),
):
    # PyTorch's test has all surrogates and resets in double precision.
    special = batched or dtype == "float64"
    if special and (surrogate, reset) != ("tanh", "zero"):
        continue
    case = surrogate, reset, masked, dtype, batched
    neuron = dynamics.Neuron(0.5, 0.5, 1.0, surrogate, reset)
    outer = (3,) if batched else ()
    current = rng.integers(-16, 49, (*outer, 2, 5, 5)) / 16
    potential = rng.integers(-16, 49, (*outer, 2, 5)) / 16
    upstream = rng.normal(size=current.shape), rng.normal(size=potential.shape)
    arrays = [x.astype(dtype) for x in (current, potential, *upstream)]
    mask = rng.random((2, 5)) < 0.7 if masked else None
    arrays.insert(2, mask)
    with_loops = run(neuron, None, batched, *arrays)
    with_kernels = run(neuron, jax_gpu, batched, *arrays)
    for expected, found in zip(with_loops, with_kernels, strict=True):
        assert found.dtype == expected.dtype == dtype, case
        error = abs(found - expected).max() / abs(expected).max()
        assert error < (1e-6 if dtype == "float32" else 1e-13), case

current, potential = arrays[0].reshape(-1, 5, 5), arrays[1].reshape(-1, 5)
first = jax.grad(lambda x: fused.run(neuron.system(), x, (potential,))[0].sum())
try:
    jax.grad(lambda x: first(x).sum())(current)
except NotImplementedError as error:
    assert "first derivatives only" in str(error)
else:
    raise AssertionError("second derivatives are not refused")
print("every choice agrees")
"""
# A kernel is compiled anew for each value of a `constexpr`, and of an integer
# that 16 divides unless it is not specialized.
SHARED = """
from triton import language
from keras_snn.dynamics import torch_gpu, torch_loop, triton as kernels

assert torch_loop._gpu_module() is torch_gpu
for kernel in (kernels.forward_kernel, kernels.backward_kernel):
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


@on_torch
@pytest.mark.slow
def test_neurons_share_kernels():
    assert "neurons share kernels" in run(SHARED)


@on_torch
@pytest.mark.slow
def test_interpreted_kernels_equal_the_eager_loops():
    assert "every choice agrees" in run(INTERPRETED, TRITON_INTERPRET="1")


@on_torch
@pytest.mark.slow
def test_kernels_compile_for_a_gpu(tmp_path):
    printed = run(COMPILED, TRITON_CACHE_DIR=str(tmp_path))
    assert "every kernel compiles" in printed


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "jax", reason="JAX's kernels")
def test_kernels_called_by_jax_equal_the_loops():
    assert "every choice agrees" in run(FROM_JAX, TRITON_INTERPRET="1")
