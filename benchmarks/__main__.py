"""`python -m benchmarks`."""

import sys

from benchmarks.cli import main

__all__ = []

if __name__ == "__main__":
    sys.exit(main())
