"""What is run for every figure and table, as recipes."""

import dataclasses

from experiments import published
from experiments.runs import Run
from experiments import recipes

METHODS = published.ANALYSIS_ORDER
TWO = METHODS[:2]
BUDGETS = ("smoke", "quick", "full")
SMOKE = 10  # iterations
# Samples in the published training sets, on which the paper's epochs count.
TRAINING = {
    "mnist": 60_000,
    "nmnist": 60_000,
    "cifar10": 50_000,
    "cifar10_dvs": 9_000,
    "cifar100": 50_000,
    "tiny_imagenet": 100_000,
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A figure or table.

    Args:
        title: What it shows.
        panels: Dictionary from the labels of a panel or row, a tuple, to the
            recipe of its runs, their initialization and seed aside.
        quick: Iterations of the budget "quick"; `None` for those of "full".
        epochs: Of the budget "full"; `None` for those of the recipe.
        methods: The initializations, in the paper's order.
        few: The initializations that "quick" is content with.
        curves: Name of the figure that a table's curves are.
    """

    title: str
    panels: dict = dataclasses.field(default_factory=dict)
    quick: int | None = 300
    epochs: int | None = None
    methods: tuple = METHODS
    few: tuple = METHODS
    curves: str | None = None

    def full(self, recipe):
        """Iterations of the paper's run of a recipe."""
        samples, batch = TRAINING[recipe.dataset], recipe.batch_size
        steps = samples // batch
        if samples % batch and not recipe.drop_remainder:
            steps += 1
        return (recipe.epochs if self.epochs is None else self.epochs) * steps

    def cells(self, seeds=1, budget="full", iterations=None, methods=None):
        """The runs of a budget.

        Args:
            seeds: How many, from 0.
            budget: One of `BUDGETS`. "smoke" takes ten iterations of the first
                two methods in the first two panels.
            iterations: In place of the budget's.
            methods: Initializations in place of the budget's.

        Returns:
            Dictionary from `(panel, method, seed)` to its `Run`.
        """
        panels, chosen = dict(self.panels), self.methods
        if budget == "quick":
            chosen = self.few
        if budget == "smoke":
            panels = dict(list(panels.items())[:2])
            chosen = self.few[:2]
        return {
            (panel, method, seed): Run(
                dataclasses.replace(recipe, initializer=method, seed=seed),
                self._length(recipe, budget, iterations),
            )
            for panel, recipe in panels.items()
            for method in methods or chosen
            for seed in range(seeds)
        }

    def _length(self, recipe, budget, iterations):
        full = self.full(recipe)
        if iterations is None:
            limits = {"smoke": SMOKE, "quick": self.quick, "full": full}
            iterations = full if limits[budget] is None else limits[budget]
        return min(iterations, full)


def neuron(k, lam, theta):
    """A neuron's parameters as text."""
    return f"k={k:g}, λ={lam:g}, θ={theta:g}"


def _analysis(*neurons, **changes):
    return {
        name: recipes.get(
            "mnist-analysis", k=name[0], lam=name[1], theta=name[2], **changes
        )
        for name in neurons
    }


def _varied(neurons, settings):
    """Panels `(neuron, setting)` from settings as changes of the recipe."""
    return {
        (neuron(*name), setting): _analysis(name, **changes)[name]
        for name in neurons
        for setting, changes in settings.items()
    }


NEURONS = tuple(published.TABLE_A6)
SIX = tuple(x for x in NEURONS if x[2] == 1)
# The two neurons of Fig. 6 are those that open Table A6.
PAIR = NEURONS[:2]
OPTIMIZERS = {x: {"optimizer": x} for x in published.TABLE_A6[NEURONS[0]]}
# With the steepness that Table A7 gives.
SURROGATES = {
    "hardtanh": {"surrogate": "hardtanh", "a": 1.0},
    "arctan": {"surrogate": "arctan", "a": 1.0},
    "tanh": {"surrogate": "tanh", "a": 2.0},
    "sigmoid": {"surrogate": "sigmoid", "a": 2.0},
}
FIVE = {(neuron(*x),): y for x, y in _analysis(*SIX).items()}


def _one(name):
    return {(): recipes.get(name)}


def _technique(dataset, k, lam, technique):
    """The recipe of a row of Table A8."""
    changes = {"k": k, "lam": lam, "dropout": None}
    if technique == "dropout":
        changes["dropout"] = recipes.VGG11.dropout
    normalization = {"bn": "batch", "bntt": "bntt"}.get(technique)
    base = recipes.VGG11 if dataset == "cifar100" else recipes.TINY
    return dataclasses.replace(base, normalization=normalization, **changes)


TABLE_2 = {
    "mnist-constant": "mnist-constant",
    "mnist-poisson": "mnist-poisson",
    "mnist-retina": "mnist-retina",
    "nmnist": "nmnist",
    "cifar10-constant": "cifar10-constant",
    "cifar10-poisson": "cifar10-poisson",
    "cifar10-retina": "cifar10-retina",
    "cifar10dvs": "cifar10-dvs",
}
TABLE_A8 = {
    (dataset, neuron(k, lam, 1), technique): _technique(
        dataset, k, lam, technique
    )
    for dataset, k, lam, technique in published.TABLE_A8
}
EPOCH = 1875  # iterations of MNIST in batches of 32

EXPERIMENTS = {
    "fig1": Experiment(
        "The beginning of training: five-layer network, MNIST, Poisson coding",
        _one("mnist-poisson"),
        epochs=1,
    ),
    "fig2": Experiment("Response of the neuron, and its slant asymptote"),
    "fig3a": Experiment(
        "Firing rates before training: five-layer network, MNIST",
        _one("mnist-poisson"),
        quick=None,
        epochs=0,
    ),
    "fig3b": Experiment(
        "Firing rates before training: VGG9, CIFAR-10",
        _one("cifar10-poisson"),
        quick=None,
        epochs=0,
    ),
    "fig4-mnist": Experiment(
        "Training curves: five-layer network, MNIST, Poisson coding",
        _one("mnist-poisson"),
    ),
    "fig4-nmnist": Experiment(
        "Training curves: five-layer network, N-MNIST", _one("nmnist")
    ),
    "fig4-cifar10": Experiment(
        "Training curves: VGG9, CIFAR-10, Poisson coding",
        _one("cifar10-poisson"),
    ),
    "fig4-cifar10dvs": Experiment(
        "Training curves: VGG9-DVS, CIFAR10-DVS", _one("cifar10-dvs")
    ),
    **{
        f"table2-{name}": Experiment(
            f"Test accuracy: {recipe}",
            _one(recipe),
            # Two epochs of the small network; of the others a look.
            quick=2 * EPOCH if name.startswith("mnist") else 300,
            methods=published.TABLE_2_ORDER,
            few=TWO,
        )
        for name, recipe in TABLE_2.items()
    },
    "fig5": Experiment(
        "Iterations to 60 % training accuracy: six neurons, MNIST", FIVE
    ),
    "fig6a": Experiment(
        "Training curves: four optimizers, two neurons, MNIST",
        _varied(PAIR, OPTIMIZERS),
        quick=250,
    ),
    "fig6b": Experiment(
        "Training curves: four surrogates, two neurons, MNIST",
        _varied(PAIR, SURROGATES),
        quick=250,
    ),
    "figA7": Experiment("The surrogates and their derivatives"),
    "figA8": Experiment("Training accuracy of the runs of Fig. 5", FIVE),
    "figA9": Experiment("Training loss of the runs of Fig. 5", FIVE),
    "tableA6": Experiment(
        "Eight neurons, four optimizers, MNIST",
        _varied(NEURONS, OPTIMIZERS),
        quick=200,
        few=TWO,
        curves="figA10",
    ),
    "tableA7": Experiment(
        "Eight neurons, four surrogates, MNIST",
        _varied(NEURONS, SURROGATES),
        quick=200,
        few=TWO,
        curves="figA11",
    ),
    "tableA8": Experiment(
        "VGG11 with and without normalization",
        TABLE_A8,
        methods=published.TABLE_2_ORDER,
        few=TWO,
        curves="figA12",
    ),
    # Not the paper's: what of Table A8 a small machine can look at.
    "bntt": Experiment(
        "BNTT in the five-layer network, MNIST, in place of VGG11, CIFAR-100",
        {
            (): recipes.get(
                "mnist-poisson", k=0.99, lam=1.0, normalization="bntt"
            )
        },
        epochs=1,
    ),
}


def select(names):
    """Experiments by their names, or by what begins them.

    Args:
        names: Such as "fig5", or "table2" for all tables of that name, or
            "all".

    Returns:
        List of names, each once, in the order of `EXPERIMENTS`.

    Raises:
        ValueError: If a name is none.
    """
    chosen = set()
    for name in names:
        some = {
            x
            for x, experiment in EXPERIMENTS.items()
            if name in (x, experiment.curves)
            or x.startswith(f"{name}-")
            or x in (f"{name}a", f"{name}b")
        }
        if not some and name != "all":
            raise ValueError(
                "An experiment must be one that `list` names, or `all`. "
                f"Received: {name}"
            )
        chosen |= set(EXPERIMENTS) if name == "all" else some
    return [name for name in EXPERIMENTS if name in chosen]
