"""What replicas need to know of each other in data-parallel training.

TensorFlow's strategies and PyTorch's `DistributedDataParallel` run a model once
per replica, each on its share of the batch. On JAX, `keras.distribution` runs
the model once, on arrays that span all devices. There, sums over a batch are
global and each sample draws its own random numbers.
"""

import keras
from keras import ops

__all__ = ["ReplicaSeedGenerator", "sum_over_replicas"]


def sum_over_replicas(*tensors):
    """Adds up tensors over all replicas. Gradients are added up, too.

    Every replica must call it equally often, or the others wait forever.

    Args:
        *tensors: Floats of one dtype.

    Returns:
        A list of tensors of the same shapes.
    """
    backend = keras.config.backend()
    if backend == "tensorflow" and (context := _tensorflow_context()):
        import tensorflow as tf

        return context.all_reduce(tf.distribute.ReduceOp.SUM, list(tensors))
    if backend == "torch" and _torch_has_replicas():
        import torch

        # One message instead of several.
        flat = _torch_sum(torch.cat([each.ravel() for each in tensors]))
        parts = flat.split([each.numel() for each in tensors])
        return [
            part.reshape(each.shape)
            for part, each in zip(parts, tensors, strict=True)
        ]
    return list(tensors)


def _torch_sum(tensor):
    import torch

    def total(tensor):
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(tensor)
        return tensor

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(_, tensor):
            return total(tensor)

        @staticmethod
        def backward(_, gradient):
            return total(gradient)

    return Sum.apply(tensor)


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """Draws other numbers on every replica.

    The generators of all replicas have the same state. Without a change, each
    replica would draw the same numbers for its share of the batch. The first
    replica draws the same numbers as a `keras.random.SeedGenerator`.
    """

    def next(self, ordered=True):
        """Returns the seed of this draw and moves the state on."""
        seed = super().next(ordered)
        index = _replica_index()
        if index is None:
            return seed
        # PyTorch's n-th draw has the seed plus n, so the seeds of replicas must
        # lie far apart. Multiples of the golden ratio do, and stay distinct.
        index = ops.cast(index, "int64") * 0x9E3779B1 % 2**31
        zero = ops.zeros_like(index)
        return ops.bitwise_xor(
            seed, ops.cast(ops.stack([index, zero]), seed.dtype)
        )


def _replica_index():
    """Returns the number of this replica, or `None` if there is only one."""
    backend = keras.config.backend()
    if backend == "tensorflow" and (context := _tensorflow_context()):
        return context.replica_id_in_sync_group
    if backend == "torch" and _torch_has_replicas():
        import torch

        return torch.distributed.get_rank()
    return None


def _tensorflow_context():
    """Returns the context of this replica, or `None` if there is only one."""
    import tensorflow as tf

    # It is `None` outside of `strategy.run`.
    context = tf.distribute.get_replica_context()
    several = context is not None and context.num_replicas_in_sync > 1
    return context if several else None


def _torch_has_replicas():
    import torch.distributed as dist

    return (
        dist.is_available()
        and dist.is_initialized()
        and dist.get_world_size() > 1
    )
