"""Speed and memory of `keras_snn` beside its peers: `python -m benchmarks`.

How the numbers are made comparable:

- Every contender runs in its own process. The parent imports no framework. It
  lets the contenders take turns of a few steps each, for several rounds, so a
  slow minute of the machine slows all of them.
- A timed step ends when the device has finished.
- Ratios compare times of the same round.
- Before timing, all spiking contenders run the same short case (batch 2, ten
  timesteps), whose numbers are exact in float32. All must emit the same spikes
  in every layer, and their gradients must have the same norms. Otherwise
  nothing is timed. A contender that runs alone is compared with Keras's RNN.
- The first step is the first of a fresh process and includes compilation.
- Peak memory is the peak of one warm step minus what was in use before the
  first step. On a CPU that is resident memory without files (Linux only), on a
  GPU the framework's own counter.
- GPUs multiply float32 matrices without rounding them to TF32.

Each run is stored in `results/<machine>-<backend>.json`, and
`python -m benchmarks table` prints the stored runs of all backends as Markdown.

On a CPU, libraries that allocate large arrays in every step may spend much of
their time waiting for the system to clear memory. Set `MALLOC_MMAP_MAX_=0` and
`MALLOC_TRIM_THRESHOLD_=1000000000000` to see the times without that (glibc).
"""

__all__ = []
