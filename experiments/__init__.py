"""The paper's experiments: recipes, training, stored runs and the report.

    python -m experiments list
    python -m experiments run fig5 --seeds 3
    python -m experiments report
    python -m experiments train mnist-poisson --set training.epochs=1

Run these in the top folder of the checkout.

| module | content |
| --- | --- |
| `recipes` | recipes: data, network and training (Tables A4, A5, A8) |
| `catalogue`, `deep` | the recipes of every figure and table |
| `training`, `losses` | the training loop, with checkpoints |
| `stability`, `rates` | measurements of gradients and of firing rates |
| `records` | the results of a run, and the file that stores them |
| `workers` | runs in this process, or on Ray |
| `published` | the paper's numbers |
| `results`, `comparison`, `claims`, `beyond` | the evaluation of stored runs |
| `figures`, `heatmaps`, `headline`, `report` | the output: figures and text |
| `environment` | machine, versions and commit |

Reference:
    "Accelerating Training of Deep Spiking Neural Networks with Parameter
    Initialization" (ICLR 2022 submission).
"""
