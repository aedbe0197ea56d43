"""Turns the sections of Keras's docstrings into those that griffe reads."""

import re
import textwrap

import griffe

__all__ = ["KerasSections"]

BLOCK = r":\n(?=    )((?:    .*(?:\n|$)|\n(?=    ))+)"
# Text without a list: griffe would take the words before a colon for a type.
PLAIN = re.compile(r"^(Returns|Yields|Reference)" + BLOCK, re.M)
# In a module, also terms and their descriptions.
TERM = re.compile(r"^(\S.*)" + BLOCK, re.M)
# Keras does not indent examples. They end with the docstring.
EXAMPLE = re.compile(r"^Example:\n(?=.*^>>> )(.*)", re.M | re.S)


class KerasSections(griffe.Extension):
    """Rewrites a docstring for griffe's reader of Google's style."""

    def on_object(self, *, obj, **_):
        """Rewrites the docstring of a module, class or function."""
        if obj.docstring is not None:
            plain = TERM if obj.is_module else PLAIN
            text = plain.sub(_plain, obj.docstring.value)
            text = text.replace(
                "\nCall arguments:\n", "\nOther args: Call arguments:\n"
            )
            obj.docstring.value = EXAMPLE.sub(_indented, text)


def _plain(match):
    return f"**{match[1]}:**\n\n{textwrap.dedent(match[2])}\n"


def _indented(match):
    return "Examples:\n" + textwrap.indent(match[1], "    ")
