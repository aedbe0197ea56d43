"""Facts about each dataset."""

import dataclasses

__all__ = ["INFO", "DatasetInfo"]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about a dataset, as published.

    Attributes:
        classes: Number of classes.
        shape: Shape of an image, `(height, width, channels)`. For recordings,
            the shape of one frame at the full resolution: `(height, width, 2)`
            with OFF and ON events for event cameras, `(channels,)` for spike
            trains.
        train_samples: Number of training samples.
        test_samples: Number of test samples.
        events: Whether the samples are recordings of events or spikes.
        valid_samples: Number of validation samples, if published apart.
    """

    classes: int
    shape: tuple[int, ...]
    train_samples: int
    test_samples: int
    events: bool = False
    valid_samples: int = 0


INFO: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(10, (8, 8, 1), 1437, 360),
    "mnist": DatasetInfo(10, (28, 28, 1), 60_000, 10_000),
    "cifar10": DatasetInfo(10, (32, 32, 3), 50_000, 10_000),
    "cifar100": DatasetInfo(100, (32, 32, 3), 50_000, 10_000),
    "tiny_imagenet": DatasetInfo(200, (64, 64, 3), 100_000, 10_000),
    "nmnist": DatasetInfo(10, (34, 34, 2), 60_000, 10_000, events=True),
    "cifar10_dvs": DatasetInfo(10, (128, 128, 2), 9000, 1000, events=True),
    "dvs_gesture": DatasetInfo(11, (128, 128, 2), 1176, 288, events=True),
    # The published files differ from the paper, which counts 8332 and 2088.
    "shd": DatasetInfo(20, (700,), 8156, 2264, events=True),
    "ssc": DatasetInfo(
        35, (700,), 75_466, 20_382, events=True, valid_samples=9981
    ),
}
