"""Prophesee's files: DAT, and RAW in EVT 2.0, EVT 2.1 and EVT 3.0.

Like the readers of AEDAT, `read_prophesee` returns `t`, `x`, `y`, `p` and the
byte position of each event.
"""

import re

import numpy as np

from keras_snn.events.aedat import check_whole, damaged
from keras_snn.events.recording import unwrapped

__all__ = ["read_prophesee"]

# Types of DAT events that hold pixels, and bytes of an event.
DAT_TYPES, DAT_SIZE = (0, 12), 8
# Types of words. A time word holds the upper bits of the time.
EVT2_TIME, EVT2_TYPES = 8, (0, 1, 8, 10, 14, 15)
EVT3_ROW, EVT3_PIXEL, EVT3_BASE, EVT3_12, EVT3_8 = 0, 2, 3, 4, 5
EVT3_LOW, EVT3_HIGH, EVT3_TYPES = 6, 8, (0, 2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15)


def read_prophesee(path, data):
    """Reads a DAT or RAW file, as its header says."""
    header = next(re.finditer(rb"(% (?!end\b)[^\n]*\n)*(% end\s*?\n)?", data))
    stated = dict(re.findall(rb"% (\w+) ?([^\r\n]*)", header[0].lower()))
    start = header.end()
    if b"data" in stated:
        return _read_dat(path, data, start, stated.get(b"version", b""))
    # Older files have "evt 3.0" in place of "format EVT3;width=1280".
    version = b"evt" + stated.get(b"evt", b"").replace(b".0", b"")
    encoding = stated.get(b"format", version.replace(b".", b""))
    name, *options = encoding.split(b";")
    size = {b"evt2": 4, b"evt21": 8, b"evt3": 2}.get(name)
    if size is None or b"endianness=big" in options:
        text = encoding.decode("latin-1")
        why = f"the header must state EVT 2, EVT 2.1 or EVT 3, not {text!r}"
        raise damaged(path, 0, why)
    check_whole(path, data, start, size)
    if size == 2:
        words = np.frombuffer(data[start:], "<u2")
        _check_types(path, start, words >> 12, EVT3_TYPES, size)
        *found, kept = _evt3(words >> 12, words & 0xFFF)
    else:
        halves = np.frombuffer(data[start:], "<u4").reshape(-1, size // 4)
        # EVT 2.1 adds a mask of 32 pixels. Some cameras send it last.
        last = size == 4 or b"endianness=legacy" not in options
        words, masks = halves[:, -1 if last else 0], halves[:, 0 if last else 1]
        _check_types(path, start, words >> 28, EVT2_TYPES, size)
        *found, kept = _evt2(words, np.ones_like(words) if size == 4 else masks)
    return *found, start + size * kept


def _read_dat(path, data, start, version):
    if version != b"2":
        why = f"the version must be 2, not {version.decode('latin-1')!r}"
        raise damaged(path, 0, why)
    kind, size = data[start : start + 2].ljust(2, b"\0")
    if kind not in DAT_TYPES or size != DAT_SIZE:
        why = (
            f"the events must have type 0 or 12 and 8 bytes, not {kind}, {size}"
        )
        raise damaged(path, start, why)
    start += 2
    check_whole(path, data, start, DAT_SIZE)
    raw = np.frombuffer(data[start:], "<u4").reshape(-1, 2)
    t, address = raw.astype("i8").T
    places = start + DAT_SIZE * np.arange(len(t))
    x, y, p = address & 0x3FFF, address >> 14 & 0x3FFF, address >> 28
    return unwrapped(t, 2**32), x, y, p, places


def _check_types(path, start, types, known, size):
    bad = ~np.isin(types, known)
    if bad.any():
        i = bad.argmax()
        why = f"the word has type {types[i]:#x}, which the format does not have"
        raise damaged(path, start + size * i, why)


def _pixels(masks):
    """Returns the index of the mask and of the bit for every bit set."""
    octets = np.ascontiguousarray(masks)[:, None].view("u1")
    return np.nonzero(np.unpackbits(octets, axis=1, bitorder="little"))


def _evt2(words, masks):
    """Decodes EVT 2.0 and 2.1. Events before the first time are dropped."""
    kind = words >> 28
    high = kind == EVT2_TIME
    times = unwrapped(words[high] & 0xFFF_FFFF, 2**28)
    number = np.cumsum(high)
    kept = np.flatnonzero((kind < 2) & (number > 0))
    word = words[kept].astype("i8")
    t = times[number[kept] - 1] << 6 | word >> 22 & 63
    i, bit = _pixels(masks[kept])
    x = (word >> 11 & 0x7FF)[i] + bit
    return t[i], x, (word & 0x7FF)[i], (word >> 28)[i], kept[i]


def _evt3(kind, value):
    """Decodes EVT 3.0. Events before the first time or row are dropped."""
    value = value.astype("i8")
    kept = np.flatnonzero(np.isin(kind, (EVT3_PIXEL, EVT3_12, EVT3_8)))

    def latest(*kinds):
        """Returns the last such word before each event word, or -1."""
        places = np.append(np.flatnonzero(np.isin(kind, kinds)), -1)
        return places[np.searchsorted(places[:-1], kept) - 1]

    row, high, time = (
        latest(EVT3_ROW),
        latest(EVT3_HIGH),
        latest(EVT3_LOW, EVT3_HIGH),
    )
    single = kind[kept] == EVT3_PIXEL
    base = np.where(single, kept, latest(EVT3_BASE))
    known = np.minimum(np.minimum(row, high), base) >= 0
    row, high, time, base = row[known], high[known], time[known], base[known]
    kept, single = kept[known], single[known]
    # A time word sets the lower bits of the time to 0, until they follow.
    upper = np.zeros_like(value)
    highs = kind == EVT3_HIGH
    upper[highs] = unwrapped(value[highs], 2**12) << 12
    t = upper[high] + np.where(kind[time] == EVT3_LOW, value[time], 0)
    # Vectors continue each other from the base.
    width = 12 * (kind == EVT3_12) + 8 * (kind == EVT3_8)
    begin = np.cumsum(width) - width
    x = (value[base] & 0x7FF) + np.where(single, 0, begin[kept] - begin[base])
    masks = np.where(single, 1, value[kept] & (1 << width[kept]) - 1)
    i, bit = _pixels(masks.astype("<u2"))
    y, p = value[row] & 0x7FF, value[base] >> 11 & 1
    return t[i], x[i] + bit, y[i], p[i], kept[i]
