"""Finds all layers inside a layer."""

from collections.abc import Iterator

import keras

__all__ = ["walk"]


def walk(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields a layer and all layers inside it, each once, in order.

    Args:
        layer: Any layer or model. The search covers the `layers` of a model and
            the attributes of any other layer, including lists and dictionaries.
    """
    seen = set()

    def visit(layer):
        if id(layer) in seen:
            return
        seen.add(id(layer))
        yield layer
        inside = getattr(layer, "layers", None)
        if not isinstance(inside, (list, tuple)):
            inside = list(vars(layer).values())
        for value in _flat(inside):
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
