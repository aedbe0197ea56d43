"""Packs files of other programs by hand, as their specifications say."""

import struct

DAT = (
    b"% Data file containing CD events\n% Version 2\n% Date 2014-10-22\n"
    b"% Height 240\n% Width 304\n"
)
EVT2 = b"% date 2023-03-29 16:37:46\n% evt 2.0\n% geometry 640x480\n% end\n"
EVT21 = b"% evt 2.1\n% format EVT21;height=320;width=320\n% end\n"
LEGACY = b"% format EVT21;height=720;width=1280;endianness=legacy\n% end\n"
EVT3 = b"% evt 3.0\n% format EVT3;height=720;width=1280\n% end\n"


def dat(rows, header=DAT, kind=12):
    """DAT: a header, type and size, then 4 bytes each of time and address."""
    content = header + bytes([kind, 8])
    for t, x, y, p in rows:
        content += struct.pack("<II", t & 2**32 - 1, p << 28 | y << 14 | x)
    return content


def evt2(rows, header=EVT2):
    """EVT 2.0: 32-bit words, the upper 4 bits are the type."""
    content, high = header, None
    for t, x, y, p in rows:
        if t >> 6 != high:
            high = t >> 6
            content += struct.pack("<I", 8 << 28 | high & 2**28 - 1)
        content += struct.pack("<I", p << 28 | (t & 63) << 22 | x << 11 | y)
    return content


def evt21(rows, header=EVT21):
    """EVT 2.1: 64-bit words with a mask of 32 pixels, one event per word."""
    order = ">" if b"legacy" in header else "<"
    content, high = header, None

    def word(upper, lower):
        # The legacy order sends the upper half first.
        halves = (upper, lower) if order == ">" else (lower, upper)
        return struct.pack("<II", *halves)

    for t, x, y, p in rows:
        if t >> 6 != high:
            high = t >> 6
            content += word(8 << 28 | high & 2**28 - 1, 0)
        upper = p << 28 | (t & 63) << 22 | (x - x % 32) << 11 | y
        content += word(upper, 1 << x % 32)
    return content


def evt3(rows, header=EVT3):
    """EVT 3.0: 16-bit words, each part is sent only if it changes."""
    content, high, low, row = header, None, None, None
    for t, x, y, p in rows:
        if t >> 12 != high:
            high, low = t >> 12, 0
            content += struct.pack("<H", 8 << 12 | high & 4095)
        if t & 4095 != low:
            low = t & 4095
            content += struct.pack("<H", 6 << 12 | low)
        if y != row:
            row = y
            content += struct.pack("<H", row)
        content += struct.pack("<H", 2 << 12 | p << 11 | x)
    return content


def words(header, *values, size=2):
    code = {2: "H", 4: "I", 8: "Q"}[size]
    return header + struct.pack(f"<{len(values)}{code}", *values)


def flatbuffer(name, body, offsets):
    """A FlatBuffer with its size, name and one table of the given fields."""
    vtable = struct.pack(
        f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), 4 + len(body), *offsets
    )
    vtable += b"\0" * (-(12 + len(vtable)) % 8)
    table = 8 + len(vtable) + 4  # keep 64-bit fields aligned
    content = struct.pack("<I4s", table, name) + b"\0\0\0\0" + vtable
    content += struct.pack("<i", table - 12) + body
    return struct.pack("<I", len(content)) + content


STREAM = """<node name="{number}" path="/outInfo/{number}/">
<attr key="compression" type="string">NONE</attr>
<attr key="originalModuleName" type="string">test</attr>
<attr key="originalOutputName" type="string">events</attr>
<attr key="typeDescription" type="string">test</attr>
<attr key="typeIdentifier" type="string">{kind}</attr>
<node name="info" path="/outInfo/{number}/info/">
<attr key="sizeX" type="int">640</attr>
<attr key="sizeY" type="int">480</attr>
<attr key="source" type="string">test</attr>
</node></node>"""


def aedat4(*packets, streams=("EVTS",)):
    """AEDAT 4 without compression, of packets `(stream, rows)`.

    DV's own library, dv-processing 2.0, reads these files.
    """
    nodes = "".join(
        STREAM.format(number=number, kind=kind)
        for number, kind in enumerate(streams)
    )
    text = f'<node name="outInfo" path="/outInfo/">{nodes}</node>'
    text = f'<dv version="2.0">{text}</dv>'.encode()
    # No compression, no table of packets, and the position of the text.
    body = struct.pack("<iqII", 0, -1, 4, len(text)) + text + b"\0"
    content = b"#!AER-DAT4.0\r\n" + flatbuffer(b"IOHE", body, (4, 8, 16))
    for stream, rows in packets:
        body = struct.pack("<II", 4, len(rows))
        for t, x, y, p in rows:
            body += struct.pack("<qhh?3x", t, x, y, p)
        packet = flatbuffer(b"EVTS", body, (4,))
        content += struct.pack("<ii", stream, len(packet)) + packet
    return content
