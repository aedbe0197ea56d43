"""What each framework does in its own way: wait, count memory, precision.

One class per framework, imported only in a worker that has it. `tf32` says
whether matrices are multiplied in TensorFloat-32; by default that is left as it
is.
"""

from benchmarks import memory


class _OnCPU:
    """Memory counters of a process without an accelerator."""

    def in_use(self):
        """Bytes in use now, or `None`."""
        return memory.resident()

    def reset_peak(self):
        """Forgets the peak so far; `False` if that cannot be done."""
        return memory.reset_peak()

    def peak(self):
        """Bytes in use at most since then."""
        return memory.peak()


class Tensorflow(_OnCPU):
    """TensorFlow."""

    def __init__(self, tf32=None):
        import tensorflow as tf

        self.tf = tf
        self.on_gpu = bool(tf.config.list_logical_devices("GPU"))
        if tf32 is not None:
            tf.config.experimental.enable_tensor_float_32_execution(tf32)

    def device(self):
        """The device's name, or "cpu"."""
        if not self.on_gpu:
            return "cpu"
        gpu = self.tf.config.list_physical_devices("GPU")[0]
        details = self.tf.config.experimental.get_device_details(gpu)
        return details.get("device_name", "gpu")

    def wait(self, outputs=()):
        """Returns once all submitted work is done."""
        del outputs
        if self.on_gpu:
            self.tf.test.experimental.sync_devices()

    def in_use(self):
        """Bytes in use now, or `None`."""
        return self._info("current") if self.on_gpu else super().in_use()

    def reset_peak(self):
        """Forgets the peak so far; `False` if that cannot be done."""
        if not self.on_gpu:
            return super().reset_peak()
        self.tf.config.experimental.reset_memory_stats("GPU:0")
        return True

    def peak(self):
        """Bytes in use at most since then."""
        return self._info("peak") if self.on_gpu else super().peak()

    def _info(self, key):
        return self.tf.config.experimental.get_memory_info("GPU:0")[key]


class Jax(_OnCPU):
    """JAX."""

    def __init__(self, tf32=None):
        import jax

        self.jax = jax
        self.accelerator = jax.devices()[0]
        self.on_gpu = self.accelerator.platform != "cpu"
        if tf32 is not None:
            precision = "tensorfloat32" if tf32 else "highest"
            jax.config.update("jax_default_matmul_precision", precision)

    def device(self):
        """The device's name, or "cpu"."""
        return self.accelerator.device_kind if self.on_gpu else "cpu"

    def wait(self, outputs=()):
        """Returns once `outputs` are there."""
        self.jax.block_until_ready(outputs)

    def in_use(self):
        """Bytes in use now, or `None`."""
        return self._stat("bytes_in_use") if self.on_gpu else super().in_use()

    def reset_peak(self):
        """Forgets the peak so far; `False` on a GPU: JAX cannot."""
        return not self.on_gpu and super().reset_peak()

    def _stat(self, key):
        return (self.accelerator.memory_stats() or {}).get(key)


class Torch(_OnCPU):
    """PyTorch."""

    def __init__(self, tf32=None):
        import torch

        self.torch = torch
        self.on_gpu = torch.cuda.is_available()
        if tf32 is not None:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            torch.backends.cudnn.allow_tf32 = tf32

    def device(self):
        """The device's name, or "cpu"."""
        return self.torch.cuda.get_device_name() if self.on_gpu else "cpu"

    def wait(self, outputs=()):
        """Returns once all submitted work is done."""
        del outputs
        if self.on_gpu:
            self.torch.cuda.synchronize()

    def in_use(self):
        """Bytes in use now, or `None`."""
        if self.on_gpu:
            return self.torch.cuda.memory_allocated()
        return super().in_use()

    def reset_peak(self):
        """Forgets the peak so far; `False` if that cannot be done."""
        if not self.on_gpu:
            return super().reset_peak()
        self.torch.cuda.reset_peak_memory_stats()
        return True

    def peak(self):
        """Bytes in use at most since then."""
        if self.on_gpu:
            return self.torch.cuda.max_memory_allocated()
        return super().peak()


FRAMEWORKS = {"tensorflow": Tensorflow, "jax": Jax, "torch": Torch}
