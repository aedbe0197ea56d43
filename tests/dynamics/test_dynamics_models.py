"""All models on the fused loops, against their definitions in NumPy."""

import dataclasses

import dual
import keras
import numpy as np
import pytest
import reference
from backend import gradients, to_numpy

from keras_snn import dynamics, surrogates

pytestmark = pytest.mark.usefixtures("double_precision")
BATCH, TIMESTEPS, UNITS = 2, 7, 3
MODELS = {
    "lif": (dynamics.Neuron, {}),
    "cuba": (dynamics.Cuba, {"alpha": 0.5}),
    "adaptive": (
        dynamics.Adaptive,
        {"rho": 0.5, "coupling": 0.25, "jump": 1.0},
    ),
    "spike-triggered": (dynamics.Adaptive, {"rho": 0.5, "jump": 0.5}),
    "coupled": (dynamics.Adaptive, {"rho": 0.5, "coupling": -0.25}),
}
COMMON = {"k": 0.5, "lam": 0.5, "theta": 1.0}
CASES = [
    (model, reset, detached, masked)
    for model in MODELS
    for reset, detached in (
        ("zero", False),
        ("zero", True),
        ("subtract", False),
        ("none", False),
    )
    for masked in (False, True)
]


def constants_of(neuron):
    names = (x.name for x in dataclasses.fields(neuron))
    fields = {name: getattr(neuron, name) for name in names}
    return {x: y for x, y in fields.items() if isinstance(y, float)}


def make(model, reset="zero", detached=False):
    kind, further = MODELS[model]
    surrogate = surrogates.Arctan(1.0)
    return kind(
        **COMMON,
        surrogate=surrogate,
        reset=reset,
        detach_reset=detached,
        **further,
    )


def slope(x):
    return reference.DERIVATIVE["arctan"](x, 1.0)


def arrays_of(neuron, rng, masked=False):
    shape = BATCH, TIMESTEPS, UNITS
    current = rng.integers(-16, 64, shape) / 16
    states = [rng.integers(-16, 16, (BATCH, UNITS)) / 16 for _ in neuron.states]
    mask = rng.random((BATCH, TIMESTEPS)) < 0.7 if masked else None
    return current, states, mask


def tensor(x):
    return None if x is None else keras.ops.convert_to_tensor(x)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_spikes_and_states_are_the_definition(case, rng):
    model, reset, detached, masked = case
    neuron = make(model, reset, detached)
    current, states, mask = arrays_of(neuron, rng, masked)
    spikes, final = dynamics.run(
        neuron.system(),
        tensor(current),
        list(map(tensor, states)),
        tensor(mask),
    )
    expected = dual.simulate(
        list(current.swapaxes(0, 1)),
        states,
        constants_of(neuron),
        slope,
        *(reset, detached, mask),
    )
    assert keras.backend.standardize_dtype(spikes.dtype) == "float64"
    fired = np.stack([x.value for x in expected[0]], 1)
    assert 0 < fired.mean() < 1
    np.testing.assert_array_equal(to_numpy(spikes), fired)
    for ours, theirs in zip(final, expected[1], strict=True):
        np.testing.assert_allclose(to_numpy(ours), theirs.value, rtol=1e-14)


@pytest.mark.parametrize("per_channel", [False, True], ids=["", "channels"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_the_definition_in_forward_mode(case, per_channel, rng):
    model, reset, detached, masked = case
    neuron = make(model, reset, detached)
    current, states, mask = arrays_of(neuron, rng, masked)
    constants = constants_of(neuron)
    names = list(constants)
    shape = (UNITS,) if per_channel else ()
    values = [np.full(shape, constants[name]) for name in names]
    inputs = [current, *states, *values]
    cotangents = [
        rng.normal(size=current.shape),
        *(rng.normal(size=x.shape) for x in states),
    ]

    count = len(states)

    def function(current, *rest):
        states, learned = rest[:count], rest[count:]
        system = neuron.system(**dict(zip(names, learned, strict=True)))
        spikes, final = dynamics.run(system, current, states, tensor(mask))
        return spikes, *final

    found = gradients(function, inputs, cotangents)
    for _ in range(4):
        along = [rng.normal(size=x.shape) for x in inputs]
        at = iter(map(dual.Dual, inputs, along))
        sequence, *others = at
        initial, learned = others[: len(states)], others[len(states) :]
        outputs = dual.simulate(
            [
                dual.Dual(sequence.value[:, t], sequence.tangent[:, t])
                for t in range(TIMESTEPS)
            ],
            initial,
            dict(zip(names, learned, strict=True)),
            slope,
            *(reset, detached, mask),
        )
        tangents = [np.stack([x.tangent for x in outputs[0]], 1)]
        tangents += [x.tangent for x in outputs[1]]
        expected = sum(map(np.vdot, cotangents, tangents))
        ours = sum(map(np.vdot, found, along))
        np.testing.assert_allclose(ours, expected, rtol=1e-9)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch leaves the others out"
)
@pytest.mark.parametrize("names", [("k",), ("lam",), ("k", "lam")], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_constants_learnt_alone_have_the_gradients_of_all(case, names, rng):
    model, reset, detached, masked = case
    neuron = make(model, reset, detached)
    current, states, mask = arrays_of(neuron, rng, masked)
    constants = constants_of(neuron)
    cotangents = [rng.normal(size=x.shape) for x in (current, *states)]

    def differentiate(names):
        def function(current, *rest):
            initial, learnt = rest[: len(states)], rest[len(states) :]
            system = neuron.system(**dict(zip(names, learnt, strict=True)))
            spikes, final = dynamics.run(system, current, initial, tensor(mask))
            return spikes, *final

        values = [np.array(constants[name]) for name in names]
        found = gradients(function, [current, *states, *values], cotangents)
        return dict(zip(names, found[1 + len(states) :], strict=True))

    of_all = differentiate(tuple(constants))
    for name, found in differentiate(names).items():
        np.testing.assert_allclose(found, of_all[name], rtol=1e-12)


# Every pair of these choices occurs.
@pytest.mark.parametrize(
    ("recurrent", "ends", "learns"),
    [
        (False, False, False),
        (False, True, True),
        (True, False, True),
        (True, True, False),
    ],
)
@pytest.mark.parametrize("case", CASES[::7], ids=str)
def test_at_rest_is_a_start_from_zeros(case, recurrent, ends, learns, rng):
    model, reset, detached, masked = case
    neuron = make(model, reset, detached)
    current, states, mask = arrays_of(neuron, rng, masked)
    states, kernel = [np.zeros_like(x) for x in states], None
    if recurrent:
        states.append(np.zeros_like(states[0]))
        kernel = tensor(rng.integers(-16, 17, (UNITS, UNITS)) / 16)
    constants = constants_of(neuron) if learns else {}
    inputs = [current, *map(np.array, constants.values())]
    cotangents = [rng.normal(size=x.shape) for x in (current, *states)]

    def both(states):
        def function(current, *learnt):
            system = neuron.system(**dict(zip(constants, learnt, strict=True)))
            spikes, final = dynamics.run(
                system, current, states, tensor(mask), kernel
            )
            return spikes, *(final if ends else ())

        weights = cotangents if ends else cotangents[:1]
        found = function(*map(tensor, inputs))
        return [*map(to_numpy, found), *gradients(function, inputs, weights)]

    expected = both([tensor(x) for x in states])
    for ours, theirs in zip(both(None), expected, strict=True):
        assert ours.dtype == theirs.dtype == "float64"
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recurrent_kernel_is_the_definition(case, rng):
    model, reset, detached, masked = case
    neuron = make(model, reset, detached)
    current, states, mask = arrays_of(neuron, rng, masked)
    fed = (rng.random((BATCH, UNITS)) < 0.5).astype("float64")
    kernel = rng.integers(-16, 17, (UNITS, UNITS)) / 16
    states, constants = [*states, fed], constants_of(neuron)
    inputs = [current, kernel, *states, *map(np.array, constants.values())]
    cotangents = [rng.normal(size=x.shape) for x in (current, *states)]

    def function(current, kernel, *rest):
        initial, learnt = rest[: len(states)], rest[len(states) :]
        system = neuron.system(**dict(zip(constants, learnt, strict=True)))
        spikes, final = dynamics.run(
            system, current, initial, tensor(mask), kernel
        )
        return spikes, *final

    found = gradients(function, inputs, cotangents)
    outputs = function(*map(tensor, inputs))
    for _ in range(4):
        along = [rng.normal(size=x.shape) for x in inputs]
        sequence, kernel, *rest = map(dual.Dual, inputs, along)
        learnt = dict(zip(constants, rest[len(states) :], strict=True))
        spikes, final = dual.simulate(
            [
                dual.Dual(sequence.value[:, t], sequence.tangent[:, t])
                for t in range(TIMESTEPS)
            ],
            rest[: len(states)],
            learnt,
            slope,
            *(reset, detached, mask, kernel),
        )
        values = [np.stack([x.value for x in spikes], 1)]
        values += [x.value for x in final]
        for ours, theirs in zip(outputs, values, strict=True):
            np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-13)
        tangents = [np.stack([x.tangent for x in spikes], 1)]
        tangents += [x.tangent for x in final]
        expected = sum(map(np.vdot, cotangents, tangents))
        ours = sum(map(np.vdot, found, along))
        np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_an_integrator_is_a_filter(rng):
    k, lam = 0.75, 0.5
    current = rng.normal(size=(BATCH, TIMESTEPS, UNITS))
    start = rng.normal(size=(BATCH, UNITS))
    weights = rng.normal(size=current.shape), rng.normal(size=start.shape)

    def function(current, start):
        system = dynamics.Integrator(k, lam).system()
        potentials, (final,) = dynamics.run(system, current, [start])
        return potentials, final

    expected = np.zeros_like(current)
    v = start
    for t in range(TIMESTEPS):
        v = expected[:, t] = k * v + lam * current[:, t]
    potentials, final = function(tensor(current), tensor(start))
    np.testing.assert_allclose(to_numpy(potentials), expected, rtol=1e-13)
    np.testing.assert_allclose(to_numpy(final), v, rtol=1e-13)
    at_current, at_start = gradients(function, [current, start], weights)
    # The filter is linear, so its gradient is the reversed filter.
    g = weights[1]
    for t in reversed(range(TIMESTEPS)):
        g = g + weights[0][:, t]
        np.testing.assert_allclose(at_current[:, t], lam * g, rtol=1e-12)
        g = k * g
    np.testing.assert_allclose(at_start, g, rtol=1e-12)


def test_masked_nan_does_not_reach_what_is_learnt(rng):
    neuron = make("cuba")
    current, states, _ = arrays_of(neuron, rng)
    mask = np.ones((BATCH, TIMESTEPS), bool)
    mask[0, 2] = False
    damaged = current.copy()
    damaged[0, 2] = np.nan
    constants = constants_of(neuron)
    inputs = [*states, *map(np.array, constants.values())]
    cotangents = [rng.normal(size=x.shape) for x in (current, *states)]

    def differentiate(current):
        def function(current, v, c, *learnt):
            system = neuron.system(**dict(zip(constants, learnt, strict=True)))
            spikes, final = dynamics.run(system, current, (v, c), tensor(mask))
            return spikes, *final

        return gradients(function, [current, *inputs], cotangents)

    for ours, theirs in zip(
        differentiate(damaged), differentiate(current), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's blocks"
)
@pytest.mark.parametrize("recurrent", [False, True])
def test_blocks_change_nothing(recurrent, rng, monkeypatch):
    from keras_snn.dynamics import torch_adjoint, torch_loop

    neuron = make("adaptive")
    current, states, mask = arrays_of(neuron, rng, masked=True)
    constants = {
        name: np.array([x, x / 2, x / 4])
        for name, x in constants_of(neuron).items()
    }
    kernel = np.round(rng.normal(size=(UNITS, UNITS)) * 4) / 4
    states += [np.zeros_like(states[0])] * recurrent
    inputs = [current, *states, *constants.values()]
    cotangents = [rng.normal(size=x.shape) for x in (current, *states)]

    def both():
        def function(current, *rest):
            initial, learnt = rest[: len(states)], rest[len(states) :]
            system = neuron.system(**dict(zip(constants, learnt, strict=True)))
            spikes, final = dynamics.run(
                system,
                current,
                initial,
                tensor(mask),
                tensor(kernel) if recurrent else None,
            )
            return spikes, *final

        return gradients(function, inputs, cotangents)

    expected = both()
    monkeypatch.setattr(torch_loop, "FORWARD_BLOCK", 8)
    monkeypatch.setattr(torch_adjoint, "BACKWARD_BLOCK", 8)
    for ours, theirs in zip(both(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_nan_spreads_through_a_recurrent_kernel(rng):
    neuron = make("lif")
    current, states, _ = arrays_of(neuron, rng)
    current[0, 1, 0] = np.nan
    kernel = tensor(np.ones((UNITS, UNITS)))
    spikes, (potential, fed) = dynamics.run(
        neuron.system(),
        tensor(current),
        [tensor(states[0]), tensor(np.zeros_like(states[0]))],
        recurrent=kernel,
    )
    spikes = to_numpy(spikes)
    assert np.isnan(spikes[0, 1, 0])
    assert np.isnan(spikes[0, 2:]).all()
    assert np.isfinite(spikes[1]).all()
    for state in (potential, fed):
        assert np.isnan(to_numpy(state)[0]).all()
