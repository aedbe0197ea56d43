"""Runs a script of docs/scaling.md and writes its `losses` to a file.

python run_block.py SCRIPT LOSSES [KILLED_AT]

TensorFlow gets two virtual devices. With `KILLED_AT`, the process kills itself
in this step, once. Of several processes, the second one does.
"""

import functools
import json
import os
import pathlib
import runpy
import signal
import sys


def two_devices():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    # The default takes all GPUs, but only one CPU.
    tf.distribute.MirroredStrategy = functools.partial(
        tf.distribute.MirroredStrategy, ["CPU:0", "CPU:1"]
    )


def killed_at(step):
    import keras

    from keras_snn import callbacks

    marker = pathlib.Path("killed")

    def counting(method):
        calls = 0

        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == step and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call

    # What `fit` calls every step, and the loop of PyTorch.
    for owner, name in (
        (callbacks.IterationHistory, "on_train_batch_end"),
        (keras.optimizers.Adam, "apply"),
    ):
        setattr(owner, name, counting(getattr(owner, name)))


def main(script, losses, step=None):
    rank = os.environ.get("RANK")
    if script == "tf_devices.py":
        two_devices()
    if step and rank in (None, "1"):
        killed_at(int(step))
    sys.path.insert(0, os.getcwd())
    found = runpy.run_path(script)["losses"]
    if rank in (None, "0"):
        pathlib.Path(losses).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
