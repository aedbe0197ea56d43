"""Times a forward and a backward pass of every model of neurons.

    python -m benchmarks.neurons --backend torch --out neurons.json
    python -m benchmarks.neurons --table

All run in one process, in turns. Ratios are to `LIF`, or for recurrent neurons
to `LIF` plus the products with the recurrent kernel. On PyTorch, snnTorch's and
SpikingJelly's counterparts run as well, if they are installed.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import time

__all__ = ["main", "rows", "table"]

RESULTS = pathlib.Path(__file__).with_name("results") / "neurons"

NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
BACKENDS = tuple(NAMES)
# Our model, and its counterpart in snnTorch and SpikingJelly.
PEERS = {
    "LIF": ("snntorch.Leaky", "spikingjelly.LIFNode"),
    "LIF, k learnt": ("spikingjelly.ParametricLIFNode",),
    "CubaLIF": ("snntorch.Synaptic",),
    "RecurrentLIF": ("snntorch.RLeaky",),
}


def ours(units):
    """Returns the layers of this library by name."""
    from keras_snn import layers

    return {
        "LIF": layers.LIF(),
        "LIF, k learnt": layers.LIF(learn=("k",)),
        "LIF, k per channel": layers.LIF(k=[0.8] * units),
        "CubaLIF": layers.CubaLIF(),
        "AdaptiveLIF": layers.AdaptiveLIF(),
        "LeakyIntegrator": layers.LeakyIntegrator(),
        "RecurrentLIF": layers.RecurrentLIF(units),
        "RecurrentCubaLIF": layers.RecurrentCubaLIF(units),
        "RecurrentAdaptiveLIF": layers.RecurrentAdaptiveLIF(units),
    }


def products(x, cotangent):
    """Returns the products of a recurrent kernel, one per timestep.

    Each timestep needs two that wait for the timestep before, forward and
    backward. The gradient of the kernel is one product for all timesteps.
    """
    import keras
    from keras import ops

    batch, timesteps, units = x.shape
    kernel = ops.convert_to_tensor(0.01 * ops.eye(units))
    steps, states = ops.transpose(x, (1, 0, 2)), ops.zeros((batch, units))

    def scan(x, cotangent, kernel):
        def step(state, x):
            state = x + ops.matmul(state, kernel)
            return state, state

        _, forward = ops.scan(step, states, x)
        _, backward = ops.scan(step, states, cotangent)
        flat = (batch * timesteps, units)
        at_kernel = ops.matmul(
            ops.transpose(ops.reshape(forward, flat)),
            ops.reshape(backward, flat),
        )
        return forward, backward, at_kernel

    arguments = steps, ops.transpose(cotangent, (1, 0, 2)), kernel
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        scan = tf.function(scan, jit_compile=True)
    elif keras.config.backend() == "jax":
        import jax

        scan = jax.jit(scan)
    return lambda: scan(*arguments)


def theirs(x, cotangent):
    """Returns both passes of the peers' neurons, by name. For PyTorch."""
    import torch

    units, made = x.shape[-1], {}
    sequence = x.transpose(0, 1).contiguous().requires_grad_()
    above = cotangent.transpose(0, 1).contiguous()
    if importlib.util.find_spec("snntorch"):
        import snntorch

        one_by_one = {
            "snntorch.Leaky": snntorch.Leaky(0.8, reset_mechanism="zero"),
            "snntorch.Synaptic": snntorch.Synaptic(
                0.5, 0.8, reset_mechanism="zero"
            ),
            "snntorch.RLeaky": snntorch.RLeaky(
                0.8, linear_features=units, reset_mechanism="zero"
            ),
        }

        def loop(module):
            # A state per neuron: the potential, and what the model has besides.
            states = module.reset_mem()
            states = states if isinstance(states, tuple) else (states,)
            recurrent = isinstance(module, snntorch.RLeaky)
            outputs = []
            for step in sequence:
                results = module(step, *states)
                outputs.append(results[0])
                # The spikes are a state of recurrent neurons.
                states = results if recurrent else results[1:]
            return torch.stack(outputs)

        for name, module in one_by_one.items():
            made[name] = (module, loop)
    if importlib.util.find_spec("spikingjelly"):
        from spikingjelly.activation_based import functional, neuron

        def whole(module):
            functional.reset_net(module)
            return module(sequence)

        for name in ("LIFNode", "ParametricLIFNode"):
            options = {"step_mode": "m", "decay_input": False}
            module = getattr(neuron, name)(**options)
            made[f"spikingjelly.{name}"] = (module, whole)

    def passes(module, run):
        at = [sequence, *module.parameters()]

        def both():
            return torch.autograd.grad(run(module), at, above)

        return both

    return {name: passes(*pair) for name, pair in made.items()}


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    add("--backend", choices=BACKENDS, default=backend)
    add("--batch", type=int, default=32)
    add("--timesteps", type=int, default=100)
    add("--units", type=int, default=256)
    add("--rounds", type=int, default=15)
    add("--steps", type=int, default=4, help="per round")
    add("--out", type=pathlib.Path, help="file for the result, JSON")
    add("--table", action="store_true", help="only print the stored results")
    args = parser.parse_args()
    if args.table:
        print(table())
        return
    os.environ["KERAS_BACKEND"] = args.backend

    from benchmarks import frameworks, machine

    framework = frameworks.load(args.backend)
    shape = (args.batch, args.timesteps, args.units)
    times = measure(args, shape, framework)
    result = {
        "backend": args.backend,
        "shape": shape,
        "device": framework.device(),
        "machine": machine.describe(),
        "rows": rows(times),
    }
    for name, row in result["rows"].items():
        ratio, low, high = row["ratio"]
        print(
            f"{name:32} {1e3 * row['median_s']:8.2f} ms  {ratio:5.2f} "
            f"({low:.2f}-{high:.2f}) of {row['of']}"
        )
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(args, shape, framework):
    """Returns the times of every contender, in rounds."""
    import keras
    import numpy as np

    from benchmarks.contenders.with_keras import both_passes

    rng = np.random.default_rng(0)
    # Currents in [0, 2.5): a LIF neuron fires at a tenth of the timesteps.
    x = keras.ops.convert_to_tensor(2.5 * rng.random(shape, "float32"))
    cotangent = keras.ops.convert_to_tensor(rng.random(shape, "float32"))
    runs = {}
    for name, layer in ours(args.units).items():
        inputs = keras.Input(shape[1:])
        model = keras.Model(inputs, layer(inputs))
        weights = bool(model.trainable_variables)
        runs[name] = both_passes(model, x, cotangent, weights, True, True)
    runs["products"] = products(x, cotangent)
    if args.backend == "torch":
        runs |= theirs(x, cotangent)
    times = {name: [] for name in runs}
    for number in range(args.rounds + 1):
        for name, run in runs.items():
            framework.wait(run())
            start = time.perf_counter()
            for _ in range(args.steps):
                framework.wait(run())
            if number:  # the first round compiles
                elapsed = (time.perf_counter() - start) / args.steps
                times[name].append(elapsed)
    return times


def rows(times):
    """Returns median time and ratio with quartiles of every contender."""
    found = {}
    for name, values in times.items():
        of = "LIF"
        base = times["LIF"]
        if name.startswith("Recurrent"):
            of = "LIF and products"
            pairs = zip(times["LIF"], times["products"], strict=True)
            base = [x + y for x, y in pairs]
        for model, peers in PEERS.items():
            if name in peers:
                of, base = model, times[model]
        ratios = [x / y for x, y in zip(values, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[name] = {
            "median_s": statistics.median(values),
            "ratio": [middle, low, high],
            "of": of,
        }
    return found


def table(folder: pathlib.Path = RESULTS) -> str:
    """Returns the stored results as a Markdown table, a column per backend.

    Args:
        folder: Folder of files that `--out` wrote, `tensorflow.json` and so on.
    """
    stored = {
        backend: json.loads((folder / f"{backend}.json").read_text())["rows"]
        for backend in BACKENDS
    }
    lines = ["| neurons | " + " | ".join(NAMES.values()) + " | ratio to |"]
    lines.append("| --- " * (len(BACKENDS) + 2) + "|")
    for name, row in stored["torch"].items():
        cells = [_cell(stored[backend].get(name)) for backend in BACKENDS]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['of']} |")
    return "\n".join(lines)


def _cell(row):
    if row is None:
        return ""
    ratio, low, high = row["ratio"]
    return f"{1e3 * row['median_s']:.2f} ({ratio:.2f}, {low:.2f}–{high:.2f})"


if __name__ == "__main__":
    main()
