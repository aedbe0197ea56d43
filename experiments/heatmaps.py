"""Draws results over the plane of k and lam (Figs. A8 and A9)."""

import numpy as np

from experiments.figures import COLORS, SMALL, make

__all__ = ["heatmaps"]


def heatmaps(gathered, neurons, title: str, limit: int, accuracy: bool):
    """Draws a quantity over k and lam (Figs. A8 and A9).

    Args:
        gathered: Records by panel and method.
        neurons: Maps each panel to its `(k, lam, theta)`.
        title: Title of the figure.
        limit: Length of the runs.
        accuracy: Whether to show the training accuracy at the end instead of
            the iterations to 60 %.

    Returns:
        A `matplotlib.figure.Figure`. Neurons that were not run are left white.
    """
    stored = {panel: x for panel, x in gathered.items() if any(x.values())}
    ks, lams, thetas = (
        sorted({neurons[panel][i] for panel in stored}) for i in range(3)
    )
    methods = [
        x for x in COLORS if any(cells.get(x) for cells in stored.values())
    ]
    figure, axes = make(len(methods), len(thetas), (3.0, 2.4), title)
    images = []
    for row, method in zip(axes, methods, strict=True):
        for axis, theta in zip(row, thetas, strict=True):
            values = np.full((len(lams), len(ks)), np.nan)
            for panel, cells in stored.items():
                k, lam, its_theta = neurons[panel]
                if its_theta == theta and cells.get(method):
                    place = lams.index(lam), ks.index(k)
                    values[place] = _quantity(cells[method], limit, accuracy)
            images.append(_draw_heatmap(axis, values, accuracy, limit))
            axis.set_xticks(range(len(ks)), [f"{k:g}" for k in ks])
            axis.set_yticks(range(len(lams)), [f"{lam:g}" for lam in lams])
            axis.set_title(f"{method}, θ={theta:g}", fontsize=8)
            axis.set_xlabel("k", **SMALL)
            axis.set_ylabel("λ", **SMALL)
    name = f"training accuracy after {limit:,} iterations (chance: 0.1)"
    if not accuracy:
        name = f"iterations to 60 % (– : not in {limit:,})"
    figure.colorbar(images[0], ax=axes, label=name)
    return figure


def _quantity(records, limit, accuracy):
    if accuracy:
        return np.mean([x.accuracy_at(limit) for x in records])
    return np.mean([x.reached(limit) or np.inf for x in records])


def _draw_heatmap(axis, values, accuracy, limit):
    image = axis.imshow(
        values if accuracy else np.minimum(values, limit),
        cmap="viridis" if accuracy else "viridis_r",
        vmin=0,
        vmax=1 if accuracy else limit,
        origin="lower",
        aspect="auto",
    )
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.2f}" if accuracy else f"{value:.0f}"
        text = "–" if np.isinf(value) else text
        if not np.isnan(value):
            # Dark text on light cells.
            share = value if accuracy else 1 - min(value, limit) / limit
            color = "black" if share > 0.6 else "white"
            style = {"fontsize": 6, "ha": "center", "va": "center"}
            axis.text(column, row, text, color=color, **style)
    return image
