"""One image under every coding that turns it into spikes over time.

Constant coding repeats the image. In Poisson coding the intensity is the
probability of a spike, so the rate of a pixel scatters around its intensity.
Retina-like coding accumulates the intensity up to a threshold and has no noise.
Its pixels have only a few rates if they restart from zero after a spike, and
almost exact rates if they keep the remainder. An event camera reports where the
brightness changes while the image moves.

    python examples/codings.py

Prints the mean of each coding and saves `codings.png`. Takes a few seconds.
"""

import argparse
import pathlib

import keras

from keras_snn import datasets, encoders, events, plots

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits")
parser.add_argument("--index", type=int, default=15, help="which image")
parser.add_argument("--timesteps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0, help="for Poisson coding")
parser.add_argument("--out", type=pathlib.Path, default="results")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

(images, labels), _ = datasets.load(args.dataset)
image, label = images[args.index], labels[args.index]
height, width, _ = image.shape

layers = {
    "Constant: the image at every timestep": encoders.ConstantEncoder(
        args.timesteps
    ),
    "Poisson: the intensity is the probability of a spike": (
        encoders.PoissonEncoder(args.timesteps, seed=args.seed)
    ),
    "Retina-like: adds up intensities, restarts from zero": (
        encoders.RetinaEncoder(args.timesteps)
    ),
    'Retina-like, reset="subtract": keeps the remainder': (
        encoders.RetinaEncoder(args.timesteps, reset="subtract")
    ),
}
coded = {
    title: keras.ops.convert_to_numpy(layer(image[None]))[0]
    for title, layer in layers.items()
}
# Relative to its height, the image moves as far as in N-MNIST.
recording = events.saccade(
    image, sensor_size=(height, width), distance=6 * height / 28
)
coded["Events: the image moves past a simulated camera"] = events.to_frames(
    recording, args.timesteps, sensor_size=(height, width)
)

plots.codings(image, coded).savefig(args.out / "codings.png", dpi=100)
for title, values in coded.items():
    print(f"{values.mean():.4f} on average  {title}")
print(f"Saved the codings of a {label} to {args.out / 'codings.png'}")
