"""How each framework waits for its device and counts memory."""

import pathlib
from collections.abc import Callable
from typing import Any

__all__ = ["CPU", "load"]

STATUS = pathlib.Path("/proc/self/status")
CLEAR = pathlib.Path("/proc/self/clear_refs")


class CPU:
    """A framework without a GPU. Linux reports the memory.

    Pages of mapped files do not count. They hold library code, which the system
    may drop and read again at any time.
    """

    def device(self) -> str:
        """Returns the GPU's name, or `"cpu"`."""
        return "cpu"

    def wait(self, outputs: Any = ()) -> None:
        """Waits until the device has computed `outputs`."""

    def in_use(self) -> int | None:
        """Returns the bytes in use now, or `None` if unknown."""
        return self._resident("VmRSS:")

    def peak_of(self, step: Callable[[], Any]) -> int | None:
        """Runs `step` and returns the peak of the bytes in use, if known.

        Run `step` once before, so that its code is already in memory.
        """
        try:
            CLEAR.write_text("5")
        except OSError:  # not Linux, or not allowed
            return None
        step()
        return self._resident("VmHWM:")

    def _resident(self, field):
        if not STATUS.exists():
            return None
        lines = map(str.split, STATUS.read_text().splitlines())
        kilobytes = {words[0]: words[1] for words in lines if "kB" in words}
        return (int(kilobytes[field]) - int(kilobytes["RssFile:"])) * 1024


class _TensorflowGPU(CPU):
    def __init__(self, tf):
        self.config, self.wait_for_all = tf.config, tf.test.experimental
        # Otherwise matrix products round float32 to TF32.
        tf.config.experimental.enable_tensor_float_32_execution(False)

    def device(self):
        gpu = self.config.list_physical_devices("GPU")[0]
        details = self.config.experimental.get_device_details(gpu)
        return details.get("device_name", "gpu")

    def wait(self, *_):
        self.wait_for_all.sync_devices()

    def in_use(self):
        return self.config.experimental.get_memory_info("GPU:0")["current"]

    def peak_of(self, step):
        self.config.experimental.reset_memory_stats("GPU:0")
        step()
        return self.config.experimental.get_memory_info("GPU:0")["peak"]


class _TorchGPU(CPU):
    def __init__(self, torch):
        self.cuda = torch.cuda
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def device(self):
        return self.cuda.get_device_name()

    def wait(self, *_):
        self.cuda.synchronize()

    def in_use(self):
        return self.cuda.memory_allocated()

    def peak_of(self, step):
        self.cuda.reset_peak_memory_stats()
        step()
        return self.cuda.max_memory_allocated()


class _Jax(CPU):
    def __init__(self, jax):
        self.block_until_ready = jax.block_until_ready
        self.accelerator = jax.devices()[0]
        jax.config.update("jax_default_matmul_precision", "highest")

    def device(self):
        accelerator = self.accelerator
        on_cpu = accelerator.platform == "cpu"
        return "cpu" if on_cpu else accelerator.device_kind

    def wait(self, outputs=()):
        self.block_until_ready(outputs)

    def peak_of(self, step):
        # JAX cannot reset its peak on a GPU.
        return super().peak_of(step) if self.device() == "cpu" else None


def load(name: str) -> CPU:
    """Imports `"tensorflow"`, `"jax"` or `"torch"` and prepares its device."""
    if name == "jax":
        import jax

        return _Jax(jax)
    if name == "torch":
        import torch

        return _TorchGPU(torch) if torch.cuda.is_available() else CPU()
    import tensorflow as tf

    on_gpu = tf.config.list_logical_devices("GPU")
    return _TensorflowGPU(tf) if on_gpu else CPU()
