"""Parses layouts: networks in the notation of Table A4."""

import re

__all__ = ["parse"]

_WORD = re.compile(r"(C|FC)([1-9]\d*)(?:\*([1-9]\d*))?|([PG])|(D)(0?\.\d+|0)")


def parse(layout: str) -> list[tuple[str, int | float | None]]:
    """Splits a layout into words, and inserts the flattening.

    Args:
        layout: Words separated by spaces: `C32`, `P`, `G`, `FC500`, `D0.5`.
            `FC500*3` stands for `FC500 FC500 FC500`.

    Returns:
        Pairs of a kind (`"C"`, `"P"`, `"G"`, `"flatten"`, `"FC"` or `"D"`) and
        its number, or `None` if it has none.

    Raises:
        ValueError: If a word is unknown or out of place.

    Example:
    >>> parse("C32 P FC500")
    [('C', 32), ('P', None), ('flatten', None), ('FC', 500)]
    """
    words, flat = [], False
    for word in layout.split() if isinstance(layout, str) else [layout]:
        match = _WORD.fullmatch(str(word))
        if not match:
            raise ValueError(
                "`layout` must be words such as C32, FC500*3, P, G and D0.5. "
                f"Received: {word!r} in layout={layout!r}"
            )
        sized, size, times, plain, drop, rate = match.groups()
        kind = sized or plain or drop
        if flat and kind in ("C", "P", "G"):
            raise ValueError(
                "`layout` must not have C, P or G after FC, D or G. "
                f"Received: {word!r} in layout={layout!r}"
            )
        if kind in ("FC", "D") and not flat:
            words.append(("flatten", None))
            flat = True
        flat = flat or kind == "G"
        number = float(rate) if drop else size and int(size)
        words += [(kind, number)] * int(times or 1)
    if not {"C", "FC"} & {kind for kind, _ in words}:
        raise ValueError(
            "`layout` must have at least one C or FC. "
            f"Received: layout={layout!r}"
        )
    return words if flat else [*words, ("flatten", None)]
