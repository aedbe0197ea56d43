"""The version. Packaging reads it from here without importing Keras."""

__all__ = ["__version__"]

__version__ = "0.2.0"
