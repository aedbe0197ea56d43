"""Recordings of event cameras: their files, and the frames made of them.

An event camera reports changes. Each of its pixels watches the logarithm of
the light that falls on it and sends an *event* whenever that has risen (ON) or
fallen (OFF) by a threshold since its last event. A recording is the list of
events in order of time, here a NumPy array of one `DTYPE` record per event:

| field | dtype | meaning |
| --- | --- | --- |
| `t` | int64 | time in microseconds; where zero lies is up to the camera |
| `x` | uint16 | column of the pixel, from 0 at the left |
| `y` | uint16 | row of the pixel, from 0 at the top |
| `p` | uint8 | polarity: 0 where it grew darker (OFF), 1 brighter (ON) |

`read` and `write` know the files, `to_frames` makes the count frames on which
networks train, and `saccade` turns an image into a recording.

Three formats are read, told apart by how the file begins:

`"bin"`: N-MNIST, N-Caltech101, DVS128 Gesture as it is often passed on.
    No header. Five bytes an event, big-endian: `x` (8 bits), `y` (8 bits), `p`
    (1 bit), `t` (23 bits, so less than 8.4 seconds). Row 240 is no pixel: the
    camera of N-MNIST has rows 0 to 239, and its author's reader takes an event
    there for a marker of the clock, dropped, from which on all times count
    2^13 us more. So does this one. None of the 738 recordings of N-MNIST that
    we looked at has such a marker.

`"aedat2"`: AEDAT 2.0 of a DVS128 camera, as CIFAR10-DVS.
    Header lines that begin with `#`, then eight bytes an event, big-endian:
    32 bits of address, 32 of time in us, taken as unsigned. In the address,
    bit 0 is 0 for ON and 1 for OFF, bits 1-7 count columns from the right, and
    bits 8-14 rows from the bottom, which is how jAER, the format's own
    software, shows them. (The published table of the format has ON and OFF the
    other way round; jAER, CIFAR10-DVS's own script, and SpikingJelly agree on
    this one.) Events with bit 15 or bit 31 come from no pixel, but from the
    camera's input pin: they are left out. Any other bit says that the address
    is another camera's, and is refused.

    SpikingJelly gives CIFAR10-DVS with `x` and `y` exchanged, for which
    `np.swapaxes(frames, 1, 2)` after `to_frames` does the same.

`"aedat3"`: AEDAT 3.1, as DVS128 Gesture was published.
    Header lines up to `#!END-HEADER`, then packets, little-endian: 28 bytes
    that say what it holds, then room for `capacity` events, of which the first
    `number` are there. Polarity events are eight bytes: valid (bit 0), `p`
    (bit 1), `y` (bits 2-16), `x` (bits 17-31), and 31 bits of time in us, to
    which the packet adds its overflow count times 2^31. Packets of other types
    and events not valid are left out.

Reference:
    Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic
    Datasets Using Saccades", Frontiers in Neuroscience 9:437, 2015 (N-MNIST).
    Li et al., "CIFAR10-DVS: An Event-Stream Dataset for Object
    Classification", Frontiers in Neuroscience 11:309, 2017.
    Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System",
    CVPR 2017 (DVS128 Gesture).
    "AEDAT file formats", https://docs.inivation.com, and `DVS128.java` of
    https://github.com/SensorsINI/jaer.
    Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance
    Learning of Spiking Neural Networks", ICCV 2021 (frames of equal numbers).
"""

from keras_snn.events.camera import saccade
from keras_snn.events.formats import FORMATS, read, write
from keras_snn.events.frames import to_frames
from keras_snn.events.recording import DTYPE

__all__ = ["DTYPE", "FORMATS", "read", "saccade", "to_frames", "write"]
