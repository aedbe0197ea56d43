"""Compares speed and memory with other libraries: `python -m benchmarks`.

What makes the numbers comparable:

- Every contender runs in its own process. The parent imports no framework. It
  lets the contenders take turns of a few steps each, for several rounds, so a
  slow minute of the machine slows all of them.
- A timed step ends when the device has finished.
- Ratios compare times of the same round.
- Where a case is the network of a builder, `keras_snn` is that network as users
  get it. Its neurons are replaced for `relu` and `rnn`.
- Before timing, all spiking contenders run the same short case (batch 2, ten
  timesteps) with numbers that are exact in float32. All must emit the same
  spikes in every layer, and their gradients must have the same norms. Otherwise
  nothing is timed. A contender that runs alone is compared with Keras's RNN.
- The first step runs in a fresh process and includes compilation.
- Import times are those of fresh processes while no other runs.
- Peak memory is the peak during one warm step minus the memory in use before
  the first step. On a CPU, this is the resident memory without mapped files
  (Linux only). On a GPU, it is the framework's own counter.
- GPUs multiply float32 matrices without rounding them to TF32.

`python -m benchmarks plan --run` runs the measurements of `docs/speed.md` that
are not yet stored for this machine and commit. After 25 minutes it starts no
further case. Each case is stored in `results/<machine>-<backend>.json` as soon
as it is measured, so a second call goes on where the first one stopped.
`python -m benchmarks docs` then writes the tables into the page.
`python -m benchmarks.accuracy` compares test accuracies over the minutes of
training.

On a CPU, libraries that allocate large arrays in every step may spend much of
their time waiting for the system to clear memory. To exclude this time on
glibc, set `MALLOC_MMAP_MAX_=0` and `MALLOC_TRIM_THRESHOLD_=1000000000000`.
"""

__all__ = []
