"""The page on which a visitor draws a digit."""

import base64
import functools
import http.server
import pathlib
import re
import shutil
import subprocess
import threading
import urllib.parse

import keras
import numpy as np
import pytest
import runtime

from keras_snn import datasets

DOCS = pathlib.Path(__file__).parents[1] / "docs"
LIVE = DOCS / "live"
once = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="once is enough"
)


@pytest.fixture(scope="module")
def digits():
    try:
        return datasets.load("mnist")[1]
    except (ImportError, OSError, ValueError) as error:
        pytest.skip(f"no MNIST: {error}")


@once
@pytest.mark.slow
def test_the_exported_network_reads_digits(digits):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(LIVE / "digit.onnx")
    images, labels = digits[0][:500, ..., 0] / 255, digits[1][:500]
    rng = np.random.default_rng(0)
    pixels, *states = session.get_inputs()
    values = [np.zeros((500, *x.shape[1:]), "float32") for x in states]
    for _ in range(32):
        spikes = (rng.random(images.shape) < images).astype("float32")
        given = {pixels.name: spikes[..., None]}
        given |= {x.name: y for x, y in zip(states, values, strict=True)}
        logits, *layers = session.run(None, given)
        values = layers[-len(states) :]
    assert np.mean(logits.argmax(-1) == labels) > 0.96
    assert all(0.01 < x.mean() < 0.8 for x in layers[:3])


@pytest.fixture
def server(tmp_path):
    """Serves the page without the site around it."""
    folder = runtime.runtime()
    if folder is None:
        pytest.skip("npm has no ONNX Runtime Web")
    for path in (*LIVE.iterdir(), *folder.iterdir()):
        if path.is_file():
            shutil.copy(path, tmp_path)
    text = (DOCS / "live.md").read_text("utf-8")
    (body,) = re.findall(r"<link.*</script>", text, re.S)
    page = f"<!doctype html><html><body>{body}</body></html>"
    (tmp_path / "index.html").write_text(page, "utf-8")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{started.server_port}/"
        started.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def opened():
    """A function that returns a page after its timers have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    flags = "--headless --no-sandbox --disable-gpu --virtual-time-budget=60000"

    def run(address):
        command = [browser, *flags.split(), "--dump-dom", address]
        options = {"capture_output": True, "check": True, "text": True}
        return subprocess.run(command, timeout=120, **options).stdout

    try:
        run("about:blank")
    except subprocess.SubprocessError:
        pytest.skip("the browser does not start")
    return run


@once
@pytest.mark.slow
def test_a_browser_reads_a_real_digit(digits, server, opened):
    images, labels = digits
    right = 0
    for image, label in zip(images[:5], labels[:5], strict=True):
        pixels = urllib.parse.quote(base64.b64encode(image.tobytes()), safe="")
        page = opened(f"{server}?pixels={pixels}")
        assert 'data-timesteps="64"' in page
        assert "Loading" not in page
        (answer,) = re.findall(r"<output[^>]*>(.*?)</output>", page)
        right += int(answer) == label
    assert right >= 4


@once
@pytest.mark.slow
def test_a_browser_says_why_the_network_does_not_run(server, opened, tmp_path):
    (tmp_path / "digit.onnx").write_bytes(b"damaged")
    assert "The network does not run here: " in opened(server)
