"""The paper's experiments: recipes, training, stored runs and the report.

    python -m experiments list
    python -m experiments run fig5 --seeds 3
    python -m experiments report
    python -m experiments train mnist-poisson --set training.epochs=1

Run these in the top folder of the checkout.

| module | content |
| --- | --- |
| `recipes` | recipes: data, network and training (Tables A4, A5, A8) |
| `catalogue` | which recipes make up a figure or table |
| `training` | the training loop, with checkpoints |
| `records` | what a run leaves, and the file that keeps it |
| `workers` | runs in this process, or on Ray |
| `published` | the paper's numbers |
| `results`, `comparison`, `claims` | what the stored runs say |
| `figures`, `headline`, `report` | how that is written and drawn |
| `environment` | machine, versions and commit |

Reference:
    "Accelerating Training of Deep Spiking Neural Networks with Parameter
    Initialization" (ICLR 2022 submission).
"""
