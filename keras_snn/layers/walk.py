"""Finds all layers inside a layer."""

from collections.abc import Iterator

import keras

__all__ = ["walk"]


def walk(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields a layer and all layers inside it, each once, in order.

    Args:
        layer: Any layer or model. The search covers its `layers` and all its
            attributes, including lists and dictionaries.
    """
    seen = set()

    def visit(layer):
        if id(layer) in seen:
            return
        seen.add(id(layer))
        yield layer
        # The order of a model first. A layer may keep others beside `layers`.
        inside = getattr(layer, "layers", ())
        for value in _flat([inside, list(vars(layer).values())]):
            if isinstance(value, keras.layers.Layer):
                yield from visit(value)

    yield from visit(layer)


def _flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _flat(each)
    else:
        yield value
