"""Checked command-line flags, shared by the examples."""

import argparse
import pathlib


def positive(text):
    """An integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text}"
        )
    return value


def checkpoint(text):
    """A `.keras` file in a folder that can be written to."""
    path = pathlib.Path(text)
    if path.suffix != ".keras":
        raise argparse.ArgumentTypeError(
            f"must be a .keras file. Received: {text}"
        )
    folder(path.parent)
    return path


def folder(text):
    """A folder, made if it is missing."""
    path = pathlib.Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"must be a folder that can be written to. Received: {error}"
        ) from error
    return path
