"""Recordings of event cameras: reading, writing and frames.

Each pixel of an event camera monitors the logarithm of its brightness. It sends
an *event* whenever that value has risen (ON) or fallen (OFF) by a threshold
since its last event. A recording is the list of events in order of time. Here
it is a NumPy array with one record of dtype `DTYPE` per event:

| field | dtype | meaning |
| --- | --- | --- |
| `t` | int64 | time in microseconds; each camera has its own zero |
| `x` | uint16 | column of the pixel, 0 at the left |
| `y` | uint16 | row of the pixel, 0 at the top |
| `p` | uint8 | polarity: 0 if darker (OFF), 1 if brighter (ON) |

`read` and `write` access files, `to_frames` counts events in frames for
training, `remove_hot_pixels` removes the noise of damaged pixels, and `saccade`
turns an image into a recording.

`read` recognizes a format by the beginning of the file. A clock that starts
over at the end of its range continues in the times that `read` returns.

N-MNIST's format, also used by N-Caltech101 and many copies of DVS128 Gesture:
    There is no header. Each event has five bytes, big-endian: `x` (8 bits), `y`
    (8 bits), `p` (1 bit) and `t` (23 bits, a range of 8.4 seconds). N-MNIST's
    camera has rows 0 to 239. An event in row 240 belongs to the clock. It is
    dropped and adds 2^13 us to all later times, as in the reader by N-MNIST's
    author. None of the 738 recordings of N-MNIST that we checked has one.

AEDAT 2.0 of a DVS128 camera, such as CIFAR10-DVS:
    Header lines begin with `#`. Each event has eight bytes, big-endian: an
    address of 32 bits and an unsigned time in us. Bit 0 of the address is 0 for
    ON and 1 for OFF. Bits 1-7 count columns from the right, and bits 8-14 count
    rows from the bottom, as jAER displays them. (The published table of the
    format swaps ON and OFF. jAER, the script of CIFAR10-DVS and SpikingJelly
    all read it as described here.) Events with bit 15 or bit 31 come from the
    camera's input pin and are dropped. Any other bit belongs to a different
    camera, so the file raises an error.

    jAER writes signed times. A negative time reads as its value plus 2^32.

    SpikingJelly swaps `x` and `y` of CIFAR10-DVS. `np.swapaxes(frames, 1, 2)`
    gives its frames.

AEDAT 3.1, such as the published DVS128 Gesture:
    Header lines end with `#!END-HEADER`. Little-endian packets follow: a header
    of 28 bytes, then space for `capacity` events. The first `number` events are
    filled. Polarity events have eight bytes: valid (bit 0), `p` (bit 1), `y`
    (bits 2-16), `x` (bits 17-31), and a time in us (31 bits). The overflow of
    the packet times 2^31 is added to the time. Other packets and invalid events
    are dropped.

AEDAT 4, as written by DV:
    It must have the events of one camera. It needs the package `aedat`.

Prophesee DAT, version 2, and RAW with EVT 2.0, EVT 2.1 or EVT 3.0:
    Triggers and other data are dropped, and so are events before the first time
    or row. Only little-endian files are read.

HDF5, as in DSEC, and Prophesee's:
    One group must have the datasets `t`, `x`, `y`, `p`, or one dataset must
    have these fields. If a dataset `t_offset` lies beside the group, it is
    added to the times. This format needs `h5py`, and `hdf5plugin` if the file
    is compressed, for instance with blosc.

`.npy` and `.npz` of NumPy:
    A structured array with the fields `t`, `x`, `y`, `p`, an array with these
    columns, or an archive with these arrays.

Text, such as `.txt` and `.csv`:
    One event per line, separated by spaces, tabs, commas or semicolons.

Columns of the last three may have similar names, such as `timestamp` and
`polarity`. Text and arrays without names must be in the order `t x y p` or
`x y p t`, and in order of time. If any time has a fraction, times are seconds.
Otherwise they are microseconds. Polarities are 0 and 1, or -1 and 1.

`pip install h5py hdf5plugin aedat` installs the packages.

Reference:
    Orchard et al., "Converting Static Image Datasets to Spiking Neuromorphic
    Datasets Using Saccades", Frontiers in Neuroscience 9:437, 2015 (N-MNIST).
    Li et al., "CIFAR10-DVS: An Event-Stream Dataset for Object
    Classification", Frontiers in Neuroscience 11:309, 2017.
    Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System",
    CVPR 2017 (DVS128 Gesture).
    "AEDAT file formats", https://docs.inivation.com, and `DVS128.java` of
    https://github.com/SensorsINI/jaer.
    "Data encoding formats" and "Data file formats", https://docs.prophesee.ai.
    Gehrig et al., "DSEC: A Stereo Event Camera Dataset for Driving Scenarios",
    IEEE Robotics and Automation Letters 6:4947, 2021.
    Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance
    Learning of Spiking Neural Networks", ICCV 2021 (frames of equal numbers).
"""

from keras_snn.events.camera import saccade
from keras_snn.events.formats import read, write
from keras_snn.events.frames import to_frames
from keras_snn.events.noise import remove_hot_pixels
from keras_snn.events.recording import DTYPE

__all__ = [
    "DTYPE",
    "read",
    "remove_hot_pixels",
    "saccade",
    "to_frames",
    "write",
]
