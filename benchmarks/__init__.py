"""Speed and memory of `keras_snn` beside its peers: `python -m benchmarks`.

What makes the numbers comparable:

- Every contender lives in a process of its own. The parent, which imports no
  framework, alternates them in one thread of commands: a few steps each per
  turn, for several rounds, so that a machine that slows down slows all alike.
- Every timed step ends when the device has finished it.
- Before any timing all spiking contenders get the same weights and the same
  input spikes in a short run (batch 2, ten timesteps) whose numbers are exact
  in float32. They must emit the same spikes, to the last one, in every layer,
  and have gradients of the same norms; else nothing is timed.
- The first step is that of a fresh process, compilation included. Peak memory
  is that of one warm step, less what was there before the first one: on Linux
  resident memory without files, on a GPU the framework's own counter.
- A contender that cannot be measured is listed with the reason, and a machine
  that was short of memory, or two devices, are called out below the table.

On a CPU much of the time of a library that allocates large arrays in every step
may be the system clearing fresh pages. `--keep-memory` takes that out for all
alike; look at peak memory without it.

`workloads.py` describes the networks as data, `contenders/` builds them.
"""
