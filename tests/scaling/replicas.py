"""Runs synchronized layers on two replicas, for `test_scaling.py`.

python replicas.py JOBS RESULTS

Both files are pickled. A job is a layer, the samples of the first replica, a
dtype, inputs, the gradient at the outputs, and a mask or `None`. Results are
lists with one entry per replica.
"""

import os
import pathlib
import pickle
import sys

# Gray images for `PoissonEncoder(6, seed=3)`.
GRAY = (4, 50), 0.5


def make(kind, dtype):
    from keras_snn.layers import BNTT, TDBN

    options = {"dtype": dtype, "synchronized": True}
    return BNTT(4, **options) if kind == "BNTT" else TDBN(0.5, **options)


def parts(array, first):
    return (None, None) if array is None else (array[:first], array[first:])


def on_tensorflow(jobs):
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    from keras_snn.encoders import PoissonEncoder

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def each(values):
        values = strategy.experimental_local_results(values)
        return [value.numpy() for value in values]

    def distributed(array, first):
        pair = parts(array, first)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(pair[context.replica_id_in_sync_group])
        )

    with strategy.scope():
        encoder = PoissonEncoder(6, seed=3)
    draw = tf.function(lambda: strategy.run(encoder, (tf.fill(*GRAY),)))
    noise = zip(*(each(draw()) for _ in range(2)), strict=True)

    results = []
    for kind, first, dtype, x, at_output, mask in jobs:
        with strategy.scope():
            layer = make(kind, dtype)
            layer.build((None, *x.shape[1:]))

        def step(x, at_output, *mask, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True, mask=mask[0] if mask else None)
                total = tf.reduce_sum(y * at_output)
            weights = [w.value for w in layer.trainable_variables]
            return y, tape.gradient(total, [x, *weights])

        arrays = [x, at_output] + ([] if mask is None else [mask])
        inputs = [distributed(array, first) for array in arrays]
        y, gradients = tf.function(strategy.run)(step, inputs)
        at_x, *at_weights = map(each, gradients)
        state = [each(v.value) for v in layer.non_trainable_variables]
        results.append(
            (
                each(y),
                at_x,
                list(zip(*at_weights, strict=True)),
                list(zip(*state, strict=True)),
            )
        )
    return list(map(list, noise)), results


def on_torch(rank, jobs, store, path):
    import torch
    import torch.distributed as dist

    from keras_snn.encoders import PoissonEncoder

    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )

    def numpy(tensor):
        return tensor.detach().numpy()

    def gathered(value):
        everyone = [None, None]
        dist.all_gather_object(everyone, value)
        return everyone

    encoder = PoissonEncoder(6, seed=3)
    noise = gathered([numpy(encoder(torch.full(*GRAY))) for _ in range(2)])
    results = []
    for kind, first, dtype, *arrays in jobs:
        layer = make(kind, dtype)
        x, at_output, mask = (parts(array, first)[rank] for array in arrays)
        x = torch.tensor(x, requires_grad=True)
        layer.build(x.shape)
        y = layer(
            x, training=True, mask=None if mask is None else torch.tensor(mask)
        )
        (y * torch.tensor(at_output)).sum().backward()
        at_weights = [numpy(v.value.grad) for v in layer.trainable_variables]
        state = [numpy(v.value) for v in layer.non_trainable_variables]
        mine = numpy(y), numpy(x.grad), at_weights, state
        results.append(tuple(zip(*gathered(mine), strict=True)))
    if rank == 0:
        pathlib.Path(path).write_bytes(pickle.dumps((noise, results)))
    dist.destroy_process_group()


def main(jobs, path):
    jobs = pickle.loads(pathlib.Path(jobs).read_bytes())
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        pathlib.Path(path).write_bytes(pickle.dumps(on_tensorflow(jobs)))
    else:
        import torch

        store = pathlib.Path("store").absolute()
        torch.multiprocessing.spawn(on_torch, (jobs, store, path), nprocs=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
