"""Peak memory of this process, as Linux counts it.

Without the pages of files: those are the code of libraries, which the system
drops and reads again as it likes, and in an idle worker it does.
"""

import pathlib

STATUS = pathlib.Path("/proc/self/status")
CLEAR = pathlib.Path("/proc/self/clear_refs")


def _field(name):
    for line in STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


def resident():
    """Bytes resident now, or `None` where the system does not say."""
    if not STATUS.exists():
        return None
    return _field("VmRSS") - _field("RssFile")


def reset_peak():
    """Forgets the peak so far; returns whether the system lets us."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak():
    """Bytes resident at most since `reset_peak`.

    The peak as counted has files in it, as many as are there now: run what is
    measured once before, so that it finds its code in memory.
    """
    if not STATUS.exists():
        return None
    return _field("VmHWM") - _field("RssFile")
