"""How long an epoch of each recipe takes on a GPU, predicted.

    python examples/epoch_time.py --flops 1e14 --bandwidth 1.5e12

Prints a table for a GPU that computes `--flops` operations and moves
`--bandwidth` bytes per second. Give the numbers that yours reaches in practice,
not those of its data sheet. Nothing is trained, and nothing is timed. Takes
about 30 seconds.
"""

import argparse
import math

import cifar10
import dvs
import keras
import numpy as np

from keras_snn import datasets, layers, profile

# How often a training step reads or writes an array of the output's size.
ACCESSES = {
    # Forward: the current, the spikes, and the distance from the threshold,
    # kept for the gradient. Backward: that distance, and two gradients.
    layers.LIF: 6,
    # Forward: twice to read, once to write. Backward: twice both the input and
    # its gradient, and once to write.
    keras.layers.BatchNormalization: 8,
}
ITEMSIZE = 2  # bytes of a value in bfloat16
RECIPES = {
    "VGG, CIFAR-10": ("cifar10", lambda: cifar10.network("vgg")),
    "ResNet-18, CIFAR-10": ("cifar10", lambda: cifar10.network("resnet18")),
    "DVS Gesture": ("dvs_gesture", lambda: dvs.network(11)),
    "CIFAR10-DVS": ("cifar10_dvs", lambda: dvs.network(10)),
}


def moved_bytes(model):
    """Counts the bytes that neurons and normalization move per sample."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += moved_bytes(layer)
        for kind, accesses in ACCESSES.items():
            if isinstance(layer, kind):
                values = math.prod(layer.output.shape[1:])
                total += accesses * values * ITEMSIZE
    return total


def predicted_seconds(samples, macs, moved, flops, bandwidth):
    """Predicts the time of an epoch, from the MACs and bytes of a sample.

    A MAC is two operations. The backward pass takes twice those of the forward
    pass. The layers wait for each other, so the times add up.
    """
    return samples * (6 * macs / flops + moved / bandwidth)


def row(name, flops, bandwidth):
    """Returns a row of the table."""
    dataset, build = RECIPES[name]
    samples, model = datasets.INFO[dataset].train_samples, build()
    blank = np.zeros((1, *model.input_shape[1:]), "uint8")
    macs, moved = profile(model, blank).total.dense, moved_bytes(model)
    seconds = predicted_seconds(samples, macs, moved, flops, bandwidth)
    cells = name, f"{samples:,}", f"{model.count_params() / 1e6:.1f} M"
    cells += f"{macs / 1e6:,.0f} M", f"{moved / 1e6:.1f} MB"
    return f"| {' | '.join(cells)} | {seconds:.2g} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--flops", type=float, default=1e14)
    parser.add_argument("--bandwidth", type=float, default=1.5e12)
    args = parser.parse_args()
    for flag, value in vars(args).items():
        if not value > 0:
            parser.error(f"--{flag} must be above 0. Received: {value}")
    head = "recipe", "samples", "parameters", "MACs per sample"
    head += "bytes per sample", "seconds per epoch"
    print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|")
    for name in RECIPES:
        print(row(name, args.flops, args.bandwidth))


if __name__ == "__main__":
    main()
