"""The paper's claims and numbers: accuracies of single runs, in percent.

`None` stands for the paper's hyphen: training did not begin, or failed. The
method that the tables call "ours" is "asymptote" here.

Source: "Accelerating Training of Deep Spiking Neural Networks with Parameter
Initialization" (ICLR 2022 submission), Tables 2, A6, A7 and A8.
"""

import json
import pathlib

__all__ = ["CLAIMS", "METHODS", "TABLE_2", "TABLE_A6", "TABLE_A7", "TABLE_A8"]

_PATH = pathlib.Path(__file__).with_suffix(".json")
_TABLES = json.loads(_PATH.read_text(encoding="utf-8"))

# Claims of the text, each with its number.
CLAIMS = _TABLES["claims"]

# Test accuracy (Table 2), by dataset and coding, then by method.
TABLE_2 = dict(_TABLES["table_2"])
# Validation accuracy of the five-layer network on MNIST after 2811 iterations,
# by `((k, lam, theta), optimizer)` and `((k, lam, theta), surrogate)`.
TABLE_A6, TABLE_A7 = (
    {(tuple(neuron), setting): x for neuron, setting, x in _TABLES[name]}
    for name in ("table_a6", "table_a7")
)
# Test accuracy of VGG11 (Table A8), by `(dataset, k, lam, technique)`.
TABLE_A8 = {tuple(row): numbers for row, numbers in _TABLES["table_a8"]}
# In the order of Tables A6 and A7.
METHODS = tuple(next(iter(TABLE_A6.values())))
