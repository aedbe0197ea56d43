"""The experiments: what is run for every figure and table."""

import dataclasses

from experiments import published, recipes
from experiments.recipes import Recipe
from experiments.records import Run
from keras_snn import datasets

__all__ = ["BUDGETS", "EXPERIMENTS", "METHODS", "Experiment", "select"]

METHODS = published.ANALYSIS_ORDER
TWO = METHODS[:2]
BUDGETS = ("smoke", "quick", "full")
SMOKE = 10  # iterations
EPOCH = 1875  # iterations of MNIST in batches of 32


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A figure or table.

    Args:
        title: What it shows.
        panels: Recipe of each panel or row, by a tuple of its labels. The
            initialization and the seed of the recipe are replaced.
        quick: Iterations of the budget "quick"; `None` for those of "full".
        epochs: Epochs of the budget "full"; `None` for the recipe's.
        methods: The initializations, in the paper's order.
        few: The initializations of the budget "quick".
        curves: Name of the figure that shows the curves of a table.
    """

    title: str
    panels: dict[tuple, Recipe] = dataclasses.field(default_factory=dict)
    quick: int | None = 300
    epochs: int | None = None
    methods: tuple = METHODS
    few: tuple = METHODS
    curves: str | None = None

    def full(self, recipe: Recipe) -> int:
        """Returns the number of iterations of the paper's run of a recipe."""
        training = recipe.training
        samples = datasets.INFO[recipe.data.name].train_samples
        steps, rest = divmod(samples, training.batch_size)
        if rest and not training.drop_remainder:
            steps += 1
        return steps * (training.epochs if self.epochs is None else self.epochs)

    def runs(
        self,
        seeds: int = 1,
        budget: str = "full",
        iterations: int | None = None,
        methods: list[str] | None = None,
    ) -> dict[tuple, Run]:
        """Returns the runs of a budget.

        Args:
            seeds: Number of seeds, from 0.
            budget: One of `BUDGETS`. "smoke" takes ten iterations of two
                methods in two panels.
            iterations: Replaces the budget's.
            methods: Initializations that replace the budget's.

        Returns:
            Runs by `(panel, method, seed)`.
        """
        panels = list(self.panels.items())
        chosen, most = self.methods, None
        if budget == "quick":
            chosen, most = self.few, self.quick
        if budget == "smoke":
            panels, chosen, most = panels[:2], self.few[:2], SMOKE
        if iterations is not None:
            most = iterations
        return {
            (panel, method, seed): Run(
                variant(recipe, method, seed),
                min(x for x in (most, self.full(recipe)) if x is not None),
            )
            for panel, recipe in panels
            for method in methods or chosen
            for seed in range(seeds)
        }


def variant(recipe: Recipe, method: str, seed: int) -> Recipe:
    """Returns a recipe with another initialization and seed."""
    return recipe.vary({"network.initializer": method, "seed": seed})


def neuron(k: float, lam: float, theta: float) -> str:
    """Returns the constants of a neuron as text."""
    return f"k={k:g}, λ={lam:g}, θ={theta:g}"


def _analysis(k, lam, theta, **changes):
    """Returns the recipe of the analysis runs of a neuron."""
    constants = {"network.k": k, "network.lam": lam, "network.theta": theta}
    return recipes.get("mnist-analysis").vary(constants | changes)


def _grid(neurons, settings):
    """Returns a panel per neuron and setting."""
    return {
        (neuron(*constants), setting): _analysis(*constants, **changes)
        for constants in neurons
        for setting, changes in settings.items()
    }


def _one(name):
    """Returns a single panel without labels."""
    return {(): recipes.get(name)}


def _technique(dataset, k, lam, technique):
    """Returns the recipe of a row of Table A8."""
    changes = {"network.k": k, "network.lam": lam, "network.dropout": 0.0}
    if technique == "dropout":
        changes["network.dropout"] = recipes.DROPOUT
    if technique in ("bn", "bntt"):
        kind = {"bn": "batch", "bntt": "bntt"}[technique]
        changes["network.normalization"] = kind
    name = dataset.replace("_", "-")
    return recipes.get(f"{name}-poisson").vary(changes)


NEURONS = tuple(published.TABLE_A6)
SIX = tuple(x for x in NEURONS if x[2] == 1)
FIVE = {(neuron(*x),): _analysis(*x) for x in SIX}
# The two neurons of Fig. 6 come first in Table A6.
PAIR = NEURONS[:2]
OPTIMIZERS = {
    name: {"training.optimizer": name} for name in published.TABLE_A6[SIX[0]]
}
# Table A7 gives the steepness.
STEEPNESS = {"hardtanh": 1.0, "arctan": 1.0, "tanh": 2.0, "sigmoid": 2.0}
SURROGATES = {
    name: {"network.surrogate": name, "network.a": a}
    for name, a in STEEPNESS.items()
}
# The rows of Table 2 and their recipes.
TABLE_2 = {
    name: "cifar10-dvs" if name == "cifar10dvs" else name
    for name in published.TABLE_2
}

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
            # Two epochs of the small network, the early curve of the others.
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
        _grid(PAIR, OPTIMIZERS),
        quick=250,
    ),
    "fig6b": Experiment(
        "Training curves: four surrogates, two neurons, MNIST",
        _grid(PAIR, SURROGATES),
        quick=250,
    ),
    "figA7": Experiment("The surrogates and their derivatives"),
    "figA8": Experiment("Training accuracy of the runs of Fig. 5", FIVE),
    "figA9": Experiment("Training loss of the runs of Fig. 5", FIVE),
    "tableA6": Experiment(
        "Eight neurons, four optimizers, MNIST",
        _grid(NEURONS, OPTIMIZERS),
        quick=200,
        few=TWO,
        curves="figA10",
    ),
    "tableA7": Experiment(
        "Eight neurons, four surrogates, MNIST",
        _grid(NEURONS, SURROGATES),
        quick=200,
        few=TWO,
        curves="figA11",
    ),
    "tableA8": Experiment(
        "VGG11 with and without normalization",
        {
            (dataset, neuron(k, lam, 1), technique): _technique(
                dataset, k, lam, technique
            )
            for dataset, k, lam, technique in published.TABLE_A8
        },
        methods=published.TABLE_2_ORDER,
        few=TWO,
        curves="figA12",
    ),
    # Not in the paper: the part of Table A8 that a small machine can run.
    "bntt": Experiment(
        "BNTT in the five-layer network, MNIST, in place of VGG11, CIFAR-100",
        {
            (): recipes.get("mnist-poisson").vary(
                {
                    "network.k": 0.99,
                    "network.lam": 1.0,
                    "network.normalization": "bntt",
                }
            )
        },
        epochs=1,
    ),
}


def select(names: list[str]) -> list[str]:
    """Finds experiments by their names.

    Args:
        names: Such as `"fig5"`, `"table2"` for all that begin with it,
            `"figA10"` for the curves of a table, or `"all"`.

    Returns:
        Names, in the order of `EXPERIMENTS`.

    Raises:
        ValueError: If nothing has one of the names.
    """
    chosen = set()
    for name in names:
        some = {
            x
            for x, experiment in EXPERIMENTS.items()
            if name in ("all", x, experiment.curves)
            or x.startswith(f"{name}-")
            or x in (f"{name}a", f"{name}b")
        }
        if not some:
            raise ValueError(
                "An experiment must be `all` or a name that `list` shows. "
                f"Received: {name}"
            )
        chosen |= some
    return [name for name in EXPERIMENTS if name in chosen]
