"""What the README prints is what happens."""

import pathlib
import re

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_the_example_learns(capsys):
    (code,) = blocks("python")
    exec(code, {})  # noqa: S102
    printed = capsys.readouterr().out
    # The exact figure belongs to one backend and version.
    assert float(re.search(r"test accuracy (0\.\d\d)", printed).group(1)) > 0.8


def test_the_two_commands_are_the_two_commands():
    job = "python examples/compare_initializers.py"
    assert blocks("sh") == [
        f'pip install ".[examples]" && {job}\n',
        'pip install ".[test]" && pytest\n',
    ]


def test_every_picture_and_file_is_there():
    root = pathlib.Path(__file__).parents[1]
    for path in re.findall(r"!\[.*?\]\((.*?)\)|`(examples/\w+\.py)`", README):
        assert (root / "".join(path)).is_file()
