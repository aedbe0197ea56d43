"""What a spiking network is shown: one image under the four codings.

Draws an image of the digits or of MNIST as constant, Poisson, retina-like and
event coding make it, each as frames over time, as what single pixels send, and
as the rate of every pixel against its intensity. Constant coding is the image
itself, at every timestep. Under Poisson coding the rate scatters about the
intensity, and the more timesteps, the less; the retina-like code has no noise,
and either a few rates (its pixels start anew after a spike) or exact ones
(they keep the rest). Events tell where the intensity changes while the image
moves, and little of the intensity itself.

`--recording` draws a real camera's recording in the place of the last row.
"""

import argparse

import flags
import keras

from keras_snn import datasets, encoders, events, plots
from keras_snn.files import replacing


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", choices=("digits", "mnist"), default="digits")
    add("--index", type=flags.index, default=5, help="of the training image")
    add("--timesteps", type=flags.positive, default=20)
    add("--recording", type=flags.existing, help="a file of N-MNIST, say")
    add("--seed", type=flags.index, default=0, help="of the Poisson spikes")
    add("--out", type=flags.picture, default="results/codings.png")
    return parser.parse_args(argv)


def encode(image, timesteps, seed):
    """Every coding that a network does inside, by the title of its row."""
    rows = {
        "Constant: the image itself": encoders.ConstantEncoder(timesteps),
        "Poisson: a spike with probability = intensity": (
            encoders.PoissonEncoder(timesteps, seed=seed)
        ),
        "Retina-like: intensities add up to a spike, then from zero": (
            encoders.RetinaEncoder(timesteps)
        ),
        'Retina-like, reset="subtract": then on from the rest': (
            encoders.RetinaEncoder(timesteps, reset="subtract")
        ),
    }
    return {
        title: keras.ops.convert_to_numpy(encoder(image[None]))[0]
        for title, encoder in rows.items()
    }


def record(image, timesteps):
    """Frames of the same image, moved before a simulated camera."""
    size = image.shape[:2]
    # As far as N-MNIST moves, whose images are 28 pixels high.
    distance = 6 * size[0] / 28
    found = events.saccade(image, sensor_size=size, distance=distance)
    return events.to_frames(found, timesteps, sensor_size=size)


def main(argv=None):
    args = parse_args(argv)
    (images, labels), _ = datasets.load(args.dataset)
    if args.index >= len(images):
        raise SystemExit(
            f"--index must be in [0, {len(images)}). Received: {args.index}"
        )
    image = images[args.index]
    coded = encode(image, args.timesteps, args.seed)
    if args.recording is None:
        title = "Event: a simulated camera, before which the image moves"
        coded[title] = record(image, args.timesteps)
    else:
        found = events.read(args.recording)
        # The smallest camera that these events fit on.
        size = int(found["y"].max()) + 1, int(found["x"].max()) + 1
        frames = events.to_frames(found, args.timesteps, sensor_size=size)
        coded[f"Event: the recording {args.recording.name}"] = frames
    with replacing(args.out) as partial:
        plots.codings(image, coded).savefig(partial, dpi=100)
    for title, values in coded.items():
        print(f"{values.mean():.4f} per value  {title}")
    print(f"\nA {labels[args.index]} under all of them: {args.out}")
    return coded


if __name__ == "__main__":
    main()
