import importlib
import importlib.util
import pathlib
import sys
import types
import warnings

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording"


@pytest.fixture(scope="session")
def spikingjelly():
    """SpikingJelly's readers of event files, without its other datasets."""
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    spec = importlib.util.find_spec("spikingjelly")
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "datasets"
    stubs = {"spikingjelly.datasets": {"__path__": [str(folder)]}}
    if importlib.util.find_spec("torchvision") is None:
        # SpikingJelly imports it for pictures and downloads, not needed here.
        names = ["check_integrity", "download_url", "extract_archive"]
        stubs |= {
            "torchvision": {"transforms": None},
            "torchvision.datasets": {"DatasetFolder": object},
            "torchvision.datasets.utils": dict.fromkeys(names),
        }
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in stubs.items():
            module = types.ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        modules = types.SimpleNamespace(
            utils=importlib.import_module("spikingjelly.datasets.utils"),
            cifar=importlib.import_module("spikingjelly.datasets.cifar10_dvs"),
        )
        yield modules
        for name in [n for n in sys.modules if n.startswith("spikingjelly.da")]:
            patch.delitem(sys.modules, name, raising=False)
