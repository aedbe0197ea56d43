"""Every table and figure of the paper, regenerated from stored runs.

    python -m experiments list
    python -m experiments run fig5 --budget quick --seeds 3
    python -m experiments report

From the top of the checkout. `experiments` says what is run, `runs` trains,
`store` keeps, `workers` calls Ray, `report` draws and writes; `published` holds
the paper's numbers.

Reference: "Accelerating Training of Deep Spiking Neural Networks with Parameter
Initialization" (ICLR 2022 submission).
"""
