"""snnax on JAX: named among the peers, and for now only reported.

Its released package, 0.0.1, cannot be imported: `snnax.snn` imports a module
`init` that the package lacks. A release that imports should get an adapter
like that of Spyx; its `SimpleLIF` with `stop_reset_grad=False` is Eq. 2.
"""

import snnax.snn

del snnax


class Contender:
    """Refuses to be made."""

    def __init__(self, kind, backend, framework):
        del kind, backend, framework
        raise NotImplementedError("imports, but has no adapter here yet")
