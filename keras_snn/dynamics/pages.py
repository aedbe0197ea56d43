"""Large PyTorch arrays on the CPU whose memory is used again.

The C library returns the memory of an array this large to the system, which
clears it page by page when the next one is made: that takes longer than all
that a neuron computes. Here what one array leaves behind is kept for the next
of the same size, as PyTorch does on GPUs, up to a limit. The pages are huge
ones, where Linux has them.
"""

import mmap
import weakref

import numpy as np
import torch

# Bytes from which the C library hands out fresh pages at every allocation.
LARGE = 2**25
# Most bytes that are kept while nobody uses them.
MOST = 2**32
_free = {}  # from sizes in bytes to lists of memory in nobody's use


def empty_like(array):
    """A contiguous array of the shape, dtype and device of another."""
    size = array.numel() * array.element_size()
    on_cpu = array.device.type == "cpu"
    if on_cpu and size >= LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory = _take(size)
        except OSError:  # a system built without, or a limit on memory
            pass
        else:
            # A view of its own, at whose end nobody uses the memory any more.
            view = np.frombuffer(memory, "uint8")
            weakref.finalize(view, _give_back, memory).atexit = False
            view = torch.from_numpy(view).view(array.dtype)
            return view.view(array.shape)
    # In the order of its axes, whatever that of the other array in memory.
    return torch.empty_like(array, memory_format=torch.contiguous_format)


def _take(size):
    """Memory of the size, used before if there is some."""
    try:
        return _free[size].pop()
    except LookupError:
        # Arrays of other shapes have come: what the old ones left is let go.
        _free.clear()
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _give_back(memory):
    # A copy: the collector of garbage may come here in the midst of it.
    kept = sum(size * len(free) for size, free in list(_free.items()))
    if kept + len(memory) <= MOST:
        _free.setdefault(len(memory), []).append(memory)
