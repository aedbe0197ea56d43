"""Checked command-line flags, shared by the examples."""

import argparse
import math
import pathlib


def positive(text):
    """An integer of at least 1."""
    return _integer(text, 1)


def index(text):
    """An integer of at least 0."""
    return _integer(text, 0)


def _integer(text, low):
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least {low}. Received: {text}"
        )
    return value


def amount(text):
    """A number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a number of at least 0. Received: {text}"
        )
    return value


def picture(text):
    """A `.png` file in a folder that can be written to."""
    path = pathlib.Path(text)
    if path.suffix != ".png":
        raise argparse.ArgumentTypeError(
            f"must be a .png file. Received: {text}"
        )
    folder(path.parent)
    return path


def existing(text):
    """A file or folder that is there."""
    path = pathlib.Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(
            f"must be a file or folder that exists. Received: {text}"
        )
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
