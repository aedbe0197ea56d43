"""What the package promises about itself."""

import ast
import importlib
import inspect
import pathlib
import re
import tomllib

import pytest

import keras_snn

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = ("keras_snn", "experiments", "examples", "benchmarks", "tests")

# Every public name. A change here is a change for users: see CHANGELOG.md.
PUBLIC = {
    "keras_snn": """
        __version__ calibrate callbacks datasets diagnose encoders events
        initializers layers losses models nir optimizers plots presets profile
        step_model surrogates theory unit_neurons
    """,
    "keras_snn.callbacks": """
        Checkpoint EpochLog EpochSeeds FiringRateMonitor IterationHistory
        firing_rates reseed
    """,
    "keras_snn.datasets": "DatasetInfo INFO NAMES batches cache_dir load",
    "keras_snn.encoders": """
        ConstantEncoder DeltaEncoder LatencyEncoder PoissonEncoder
        RetinaEncoder as_intensity
    """,
    "keras_snn.events": "DTYPE read remove_hot_pixels saccade to_frames write",
    "keras_snn.initializers": """
        AsymptoteBias AsymptoteInitializer CopyInitializer Lee2020Initializer
        LeeInitializer MicheliInitializer NAMES RossbroichInitializer
        ScaledInitializer ShiInitializer StationaryBias StationaryInitializer
        WuInitializer for_gradient for_layer for_normalization padded_fan_in
    """,
    "keras_snn.layers": """
        AdaptiveLIF AdaptiveLIFCell BNTT Conv2D CubaLIF CubaLIFCell FoldTime
        LIF LIFRNNCell LeakyIntegrator LeakyIntegratorCell PerTimestep Recompute
        RecurrentAdaptiveLIF RecurrentCell RecurrentCubaLIF RecurrentLIF
        SumPooling2D TDBN UnfoldTime reset_states unrolled
    """,
    "keras_snn.losses": """
        CountCrossentropy CountMeanSquaredError FiringRateRegularizer
        MembraneMeanSquaredError RateAccuracy TemporalCrossentropy
    """,
    "keras_snn.models": """
        BLOCKS calibrate Costs DATA_FORMATS diagnose Diagnosis ENCODERS ENERGY
        Energy Finding five_layer_snn ImageModel NORMALIZATIONS POOLING
        PortableModel probe Profile profile READOUTS residual_snn sequential_snn
        STEMS step_model StepModel unit_neurons vgg11_snn vgg9_dvs_snn vgg9_snn
    """,
    "keras_snn.nir": """
        Difference compatibility first_difference from_nir record to_nir
    """,
    "keras_snn.optimizers": "ASGD",
    "keras_snn.plots": """
        STYLES codings firing_rates learning_curves potentials raster recording
        response time_series
    """,
    "keras_snn.presets": """
        decay integrate_and_fire norse norse_lif sinabs sinabs_iaf snntorch
        snntorch_rleaky snntorch_synaptic spikingjelly spikingjelly_if
        spikingjelly_plif time_constant
    """,
    "keras_snn.surrogates": """
        Arctan Exponential FastSigmoid Gaussian HardTanh NAMES Sigmoid
        SpikeGated Surrogate Tanh Triangular fire get serialize
    """,
    "keras_snn.theory": """
        HIGHEST_RATE LOWEST_RATE asymptote bernoulli_moments cross_moments_after
        firing_rate gradient_squares mean_rate micheli_stddev
        moments_after rate_slope reset_growth rossbroich_stddev shi_limit
        shi_steepness shi_stddev simulate stationary_bias stationary_moments
        stationary_steepness stationary_stddev transition_current weight_stddev
    """,
}

# Each module of the package and the others that it may import.
ARROWS = {
    "validation": set(),
    "version": set(),
    "files": set(),
    "precision": set(),
    "theory": {"validation"},
    "surrogates": {"validation"},
    "presets": {"surrogates", "validation"},
    "events": {"files", "validation"},
    "dynamics": {"precision", "surrogates", "validation"},
    "initializers": {"surrogates", "theory", "validation"},
    "replicas": set(),
    "encoders": {"replicas", "validation"},
    "optimizers": {"validation"},
    "plots": {"models", "theory", "validation"},
    "layers": {
        "initializers",
        "dynamics",
        "precision",
        "replicas",
        "surrogates",
        "validation",
    },
    "losses": {"precision", "validation"},
    "models": {
        "encoders",
        "initializers",
        "layers",
        "precision",
        "surrogates",
        "theory",
        "validation",
    },
    "nir": {
        "encoders",
        "files",
        "layers",
        "models",
        "surrogates",
        "validation",
    },
    "callbacks": {"files", "layers", "models", "validation"},
    "datasets": {"events", "files", "validation"},
}

# Functions with more than ten arguments of their own, and the reason.
MANY_ARGUMENTS = {
    # A network is described by its arguments, as in `keras.applications`.
    "residual_snn",
    "sequential_snn",
    "five_layer_snn",
    "vgg9_snn",
    "vgg9_dvs_snn",
    "vgg11_snn",
    # The constructors of neurons, with the options of `keras.layers.RNN`.
    "__init__",
    # A Triton kernel gets every pointer and constant as an argument.
    "forward_kernel",
    "backward_kernel",
}


def files(*rooms):
    return [
        pytest.param(path, id=str(path.relative_to(ROOT)))
        for room in rooms
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


every_file = pytest.mark.parametrize("path", files(*ROOMS))
every_module = pytest.mark.parametrize("path", files("keras_snn"))


def imports(path):
    """The full names that a file imports: modules, and names in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_those_of_the_table(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(PUBLIC[name].split())
    assert all(hasattr(module, each) for each in module.__all__)


def test_every_public_module_is_in_the_table():
    modules = {
        f"keras_snn.{name}"
        for name in keras_snn.__all__
        if inspect.ismodule(getattr(keras_snn, name))
    }
    assert modules == PUBLIC.keys() - {"keras_snn"}


@every_module
def test_a_module_states_its_names(path):
    assert re.search(r"^__all__\b.* = ", path.read_text(), re.M)


@every_module
def test_imports_point_down(path):
    imported = list(imports(path))
    room = path.relative_to(ROOT / "keras_snn").parts[0].removesuffix(".py")
    if room != "__init__":
        ours = {
            name.split(".")[1]
            for name in imported
            if name.startswith("keras_snn.")
        }
        assert ours <= ARROWS[room] | {room}
    tops = {name.split(".")[0] for name in imported}
    assert not tops & {"experiments", "examples", "benchmarks"}
    # Importing the package must not need matplotlib.
    assert "matplotlib" not in tops or room == "plots"


@every_file
def test_keras_internals_and_test_helpers_are_not_imported(path):
    imported = list(imports(path))
    assert not [name for name in imported if name.startswith("keras.src")]
    if ROOT / "tests" not in path.parents:
        helpers = {"tests"} | {p.stem for p in (ROOT / "tests").rglob("*.py")}
        assert not helpers & {name.split(".")[0] for name in imported}


@every_file
def test_files_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) <= 400
    for node in functions(path):
        lines = node.end_lineno - node.lineno + 1
        if ast.get_docstring(node):
            lines -= node.body[0].end_lineno - node.body[0].lineno + 1
        assert lines <= 60, node.name


@every_file
def test_functions_have_at_most_ten_arguments(path):
    for node in functions(path):
        own = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = {each.arg for each in own} - {"self", "cls"}
        assert len(names) <= 10 or node.name in MANY_ARGUMENTS, node.name


def test_base_install_is_keras_numpy_and_filelock():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"\w+", each).group() for each in project["dependencies"]}
    assert names == {"keras", "numpy", "filelock"}


def test_the_changelog_and_the_citation_know_the_version():
    version = keras_snn.__version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
