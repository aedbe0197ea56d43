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
RECIPES = {
    "VGG, CIFAR-10": ("cifar10", lambda: cifar10.network("vgg")),
    "ResNet-18, CIFAR-10": ("cifar10", lambda: cifar10.network("resnet18")),
    "DVS Gesture": ("dvs_gesture", lambda: dvs.network(11)),
    "CIFAR10-DVS": ("cifar10_dvs", lambda: dvs.network(10)),
}


def moved_values(model):
    """Counts the values that neurons and normalization move per sample."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += moved_values(layer)
        for kind, accesses in ACCESSES.items():
            if isinstance(layer, kind):
                total += accesses * math.prod(layer.output.shape[1:])
    return total


def predicted_seconds(samples, macs, values, flops, bandwidth, itemsize=2):
    """Predicts the time of an epoch.

    A MAC is two operations. The backward pass takes twice those of the forward
    pass. The layers wait for each other, so the times add up.
    """
    return samples * (6 * macs / flops + itemsize * values / bandwidth)


def row(name, flops, bandwidth):
    """Returns a row of the table."""
    dataset, build = RECIPES[name]
    samples, model = datasets.INFO[dataset].train_samples, build()
    blank = np.zeros((1, *model.input_shape[1:]), "uint8")
    macs, values = profile(model, blank).total.dense, moved_values(model)
    seconds = predicted_seconds(samples, macs, values, flops, bandwidth)
    cells = name, f"{samples:,}", f"{model.count_params() / 1e6:.1f} M"
    cells += f"{macs / 1e6:,.0f} M", f"{2 * values / 1e6:.1f} MB"
    return f"| {' | '.join(cells)} | {seconds:.2g} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--flops", type=float, default=1e14)
    parser.add_argument("--bandwidth", type=float, default=1.5e12)
    args = parser.parse_args()
    head = "recipe", "samples", "parameters", "MACs per sample"
    head += "bytes per sample", "seconds per epoch"
    print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|")
    for name in RECIPES:
        print(row(name, args.flops, args.bandwidth))


if __name__ == "__main__":
    main()
