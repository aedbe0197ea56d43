"""Facts about each dataset."""

import dataclasses

__all__ = ["INFO", "DatasetInfo"]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about a dataset, as published.

    Attributes:
        classes: Number of classes.
        shape: Shape of an image, `(height, width, channels)`. For recordings,
            the shape of one frame at the sensor's resolution. Its two channels
            are OFF and ON events.
        train_samples: Number of training samples.
        test_samples: Number of test samples.
        events: Whether the samples are recordings of an event camera.
    """

    classes: int
    shape: tuple[int, int, int]
    train_samples: int
    test_samples: int
    events: bool = False


INFO: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(10, (8, 8, 1), 1437, 360),
    "mnist": DatasetInfo(10, (28, 28, 1), 60_000, 10_000),
    "cifar10": DatasetInfo(10, (32, 32, 3), 50_000, 10_000),
    "cifar100": DatasetInfo(100, (32, 32, 3), 50_000, 10_000),
    "tiny_imagenet": DatasetInfo(200, (64, 64, 3), 100_000, 10_000),
    "nmnist": DatasetInfo(10, (34, 34, 2), 60_000, 10_000, events=True),
    "cifar10_dvs": DatasetInfo(10, (128, 128, 2), 9000, 1000, events=True),
    "dvs_gesture": DatasetInfo(11, (128, 128, 2), 1176, 288, events=True),
}
