"""What the paper reports, as numbers.

`None` is its hyphen: training did not begin, or failed. All runs are single
ones there. Neurons are `(k, lam, theta)`.

Source: "Accelerating Training of Deep Spiking Neural Networks with Parameter
Initialization" (ICLR 2022 submission), Tables 2, A6, A7 and A8. "asymptote" is
what its tables call "ours".
"""

# Test accuracy in percent (Table 2).
TABLE_2_ORDER = ("glorot", "he", "wu", "lee", "asymptote")
TABLE_2 = {
    "mnist-constant": (99.18, 99.18, 99.18, 99.18, 99.27),
    "mnist-poisson": (99.3, 99.26, 99.28, 99.27, 99.35),
    "mnist-retina": (99.04, 99.14, 99.24, 99.14, 99.2),
    "nmnist": (99.36, 99.35, 99.29, 99.33, 99.39),
    "cifar10-constant": (81.59, 82.95, 83.9, 83.05, 87.62),
    "cifar10-poisson": (76.69, 81.86, 82.23, 81.03, 83.06),
    "cifar10-retina": (73.75, 76.36, 78.84, 73.07, 82.98),
    "cifar10dvs": (None, 66.9, 67.7, None, 68.2),
}

# Validation accuracy of the five-layer network on MNIST after three epochs of
# batches of 64, 2811 iterations (Tables A6 and A7).
ANALYSIS_ORDER = ("asymptote", "glorot", "he", "wu", "lee")

TABLE_A6 = {
    (0.3, 0.1, 1.0): {
        "adam": (0.979, None, None, None, None),
        "sgd": (0.776, None, None, None, None),
        "asgd": (0.636, None, None, None, None),
        "adagrad": (0.966, 0.878, 0.898, 0.876, 0.74),
    },
    (0.8, 0.2, 1.0): {
        "adam": (0.982, 0.972, 0.972, 0.973, 0.971),
        "sgd": (0.929, None, None, None, None),
        "asgd": (0.887, None, None, None, None),
        "adagrad": (0.975, 0.959, 0.967, 0.956, 0.957),
    },
    (0.8, 0.5, 1.0): {
        "adam": (0.984, 0.98, 0.986, 0.983, 0.984),
        "sgd": (0.975, 0.921, 0.959, 0.964, 0.945),
        "asgd": (0.958, 0.165, 0.91, 0.918, 0.866),
        "adagrad": (0.984, 0.978, 0.984, 0.984, 0.982),
    },
    (0.2, 0.8, 1.0): {
        "adam": (0.984, 0.978, 0.988, 0.982, 0.989),
        "sgd": (0.968, None, 0.95, 0.956, 0.884),
        "asgd": (0.951, None, 0.905, 0.926, 0.612),
        "adagrad": (0.977, 0.978, 0.986, 0.985, 0.986),
    },
    (1.0, 1.0, 1.0): {
        "adam": (0.987, 0.986, 0.987, 0.986, 0.986),
        "sgd": (0.985, 0.982, 0.985, 0.983, 0.985),
        "asgd": (0.986, 0.981, 0.986, 0.981, 0.984),
        "adagrad": (0.986, 0.984, 0.986, 0.985, 0.986),
    },
    (0.5, 4.0, 1.0): {
        "adam": (0.986, 0.987, 0.984, 0.985, 0.986),
        "sgd": (None, None, None, None, None),
        "asgd": (0.981, None, None, None, None),
        "adagrad": (0.983, None, None, 0.977, 0.984),
    },
    (0.6, 0.3, 4.0): {
        "adam": (0.98, None, None, None, None),
        "sgd": (0.895, None, None, None, None),
        "asgd": (0.841, None, None, None, None),
        "adagrad": (0.968, 0.882, 0.889, 0.91, 0.743),
    },
    (0.4, 0.4, 4.0): {
        "adam": (0.984, None, None, None, None),
        "sgd": (0.923, None, None, None, None),
        "asgd": (0.876, None, None, None, None),
        "adagrad": (0.972, 0.906, 0.924, 0.926, 0.752),
    },
}

TABLE_A7 = {
    (0.3, 0.1, 1.0): {
        "hardtanh": (0.982, None, None, 0.31, None),
        "arctan": (0.983, None, None, None, None),
        "tanh": (0.984, None, None, None, None),
        "sigmoid": (0.984, None, None, None, None),
    },
    (0.8, 0.2, 1.0): {
        "hardtanh": (0.985, 0.974, 0.98, 0.98, 0.977),
        "arctan": (0.984, 0.972, 0.98, 0.98, 0.976),
        "tanh": (0.986, 0.976, 0.979, 0.981, 0.978),
        "sigmoid": (0.985, None, None, None, None),
    },
    (0.8, 0.5, 1.0): {
        "hardtanh": (0.987, 0.985, 0.987, 0.984, 0.986),
        "arctan": (0.988, 0.983, 0.986, 0.987, 0.989),
        "tanh": (0.989, 0.987, 0.987, 0.988, 0.99),
        "sigmoid": (0.988, None, None, None, None),
    },
    (0.2, 0.8, 1.0): {
        "hardtanh": (0.987, 0.983, 0.99, 0.986, 0.988),
        "arctan": (0.988, 0.986, 0.991, 0.987, 0.991),
        "tanh": (0.988, 0.984, 0.99, 0.989, 0.991),
        "sigmoid": (0.986, None, None, None, None),
    },
    (1.0, 1.0, 1.0): {
        "hardtanh": (0.988, 0.988, 0.988, 0.984, 0.989),
        "arctan": (0.986, 0.987, 0.986, 0.981, 0.984),
        "tanh": (0.988, 0.988, 0.988, 0.99, 0.987),
        "sigmoid": (0.987, 0.986, 0.987, 0.887, 0.989),
    },
    (0.5, 4.0, 1.0): {
        "hardtanh": (0.985, 0.987, 0.98, 0.984, 0.986),
        "arctan": (0.987, 0.987, 0.973, 0.973, 0.978),
        "tanh": (0.988, 0.983, 0.985, 0.984, 0.98),
        "sigmoid": (0.199, 0.197, None, None, 0.176),
    },
    (0.6, 0.3, 4.0): {
        "hardtanh": (0.979, None, None, None, None),
        "arctan": (0.917, None, None, None, None),
        "tanh": (0.968, None, None, None, None),
        "sigmoid": (0.887, None, None, None, None),
    },
    (0.4, 0.4, 4.0): {
        "hardtanh": (0.983, None, None, None, None),
        "arctan": (0.953, None, None, None, None),
        "tanh": (0.976, None, None, None, None),
        "sigmoid": (0.951, None, None, None, None),
    },
}

# Test accuracy of VGG11 in percent (Table A8).
TABLE_A8_ORDER = TABLE_2_ORDER
TABLE_A8 = {
    ("cifar100", 0.5, 0.5, "dropout"): (None, None, None, None, 54.94),
    ("cifar100", 0.99, 1.0, "dropout"): (None, 54.03, 54.46, None, 53.79),
    ("cifar100", 0.99, 1.0, "bn"): (57.18, 57.19, 56.45, 56.64, 57.02),
    ("cifar100", 0.99, 1.0, "bntt"): (65.89, 65.55, 64.91, 65.65, 65.44),
    ("tiny_imagenet", 0.5, 0.5, "none"): (None, None, None, None, 44.16),
    ("tiny_imagenet", 0.99, 1.0, "bn"): (45.97, 47.18, 47.6, 45.03, 47.51),
    ("tiny_imagenet", 0.99, 1.0, "bntt"): (57.03, 57.09, 56.9, 57.19, 56.8),
}
