"""Tables as text."""

__all__ = ["table"]


def table(head, rows):
    """Returns a table as text. The first column is left-aligned.

    Args:
        head: Texts, one per column.
        rows: Tuples of texts.
    """
    lines = [tuple(head), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if not number else text.rjust(width)
            for number, (text, width) in enumerate(
                zip(line, widths, strict=True)
            )
        ).rstrip()
        for line in lines
    )
