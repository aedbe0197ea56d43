"""Helpers that Keras does not have: gradients and operation counts."""

import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops


def gradients(function, arrays, cotangents):
    """Differentiates sum(cotangent * output) by every array.

    `function` maps tensors to a tuple of tensors.
    """
    backend = keras.config.backend()

    def total(*tensors):
        outputs = function(*tensors)
        outputs = map(_at_least_float32, outputs)
        return sum(
            ops.sum(x * ops.convert_to_tensor(weight, x.dtype))
            for x, weight in zip(outputs, cotangents, strict=True)
        )

    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = total(*tensors)
        results = tape.gradient(value, tensors)
    elif backend == "jax":
        import jax

        results = jax.grad(total, argnums=tuple(range(len(arrays))))(
            *(jax.numpy.asarray(array) for array in arrays)
        )
    else:
        tensors = [
            ops.convert_to_tensor(array).requires_grad_() for array in arrays
        ]
        total(*tensors).backward()
        results = [tensor.grad for tensor in tensors]
    return [to_numpy(result) for result in results]


def _at_least_float32(x):
    x = ops.convert_to_tensor(x)
    double = keras.backend.standardize_dtype(x.dtype) == "float64"
    return x if double else ops.cast(x, "float32")


def operations(function, *arrays):
    """Counts the backend's operations in a function."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        graph = tf.function(lambda *x: function(*x)).get_concrete_function(
            *(tf.TensorSpec(array.shape, array.dtype) for array in arrays)
        )
        return len(graph.graph.get_operations())
    if backend == "jax":
        import jax

        def count(jaxpr):
            inner = (
                getattr(each, "jaxpr", each)
                for equation in jaxpr.eqns
                for each in equation.params.values()
                if hasattr(each, "eqns")
            )
            return len(jaxpr.eqns) + sum(count(each) for each in inner)

        return count(jax.make_jaxpr(lambda *x: function(*x))(*arrays).jaxpr)

    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.calls += 1
            return func(*args, **kwargs or {})

    with Counter() as counter:
        function(*arrays)
    return counter.calls


needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is the reference"
)


def in_torch(script, *arguments):
    """Runs a PyTorch script in its own process and returns its `results`.

    Parts of PyTorch crash in a process with TensorFlow or JAX. The script
    starts with `torch` imported and `arguments` set. Arguments and results go
    through JSON.
    """
    head = "import json, sys, torch\narguments = json.load(sys.stdin)\n"
    tail = "\njson.dump(results, sys.stdout)"
    answer = subprocess.run(
        [sys.executable, "-c", head + script + tail],
        check=True,
        input=json.dumps(arguments),
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(answer.stdout)


def to_numpy(tensor):
    return np.asarray(ops.convert_to_numpy(_at_least_float32(tensor)))
