"""Averaged SGD, which the experiments need and Keras lacks."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_snn.validation import check_number

__all__ = ["ASGD"]


@keras.saving.register_keras_serializable(package="keras_snn")
class ASGD(keras.optimizers.Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992).

    In iteration `t`, counted from 0, with learning rate `r`:

    - `eta = r / (1 + lambd r t)^alpha`
    - `w = w - eta (gradient + lambd w)`
    - `average = average + (w - average) / max(1, t - t0)`

    The results equal those of `torch.optim.ASGD`. There, too, a learning rate
    takes effect one iteration late: `r` is the value that a schedule or
    callback set for `t - 1`. Until `t0` the average is `w` itself.

    The list `averages` holds the averages. They replace the weights at the end
    of `fit`, as with `use_ema`. In your own training loop, call
    `optimizer.finalize_variable_values(model.trainable_variables)`.

    A checkpoint that `fit` saves after an epoch holds both weights and
    averages, so a resumed run equals an uninterrupted one. A second `fit` of
    the same model starts from the averages.

    Args:
        learning_rate: A number, a schedule from `keras.optimizers.schedules`,
            or a callable without arguments.
        lambd: Decay of the weights and of `eta`, at least 0.
        alpha: Exponent of the decay of `eta`, at least 0.
        t0: Iteration after which averaging starts, at least 0.
        **kwargs: Keywords of `keras.optimizers.Optimizer` except `use_ema`.
            `weight_decay` is decoupled from the gradient, as in AdamW.

    Reference:
        Polyak and Juditsky, "Acceleration of stochastic approximation by
        averaging", 1992.

    Example:
    >>> w = keras.Variable([1.0, 2.0])
    >>> optimizer = ASGD(0.5, lambd=0.0, t0=0)
    >>> for _ in range(3):
    ...     optimizer.apply([ops.ones(2)], [w])
    >>> ops.convert_to_numpy(w).tolist()
    [-0.5, 0.5]
    >>> optimizer.finalize_variable_values([w])  # the mean of the last two
    >>> ops.convert_to_numpy(w).tolist()
    [-0.25, 0.75]
    """

    def __init__(
        self,
        learning_rate: float | Callable = 0.01,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        **kwargs: Any,
    ):
        if isinstance(learning_rate, numbers.Real):
            learning_rate = float(learning_rate)  # Keras accepts no int
        super().__init__(learning_rate, **kwargs)
        self.lambd = check_number("lambd", lambd, included="low")
        self.alpha = check_number("alpha", alpha, included="low")
        self.t0 = check_number("t0", t0, included="low")
        if self.use_ema:
            raise ValueError(
                "`use_ema` must be False, because `ASGD` keeps its own "
                f"averages. Received: use_ema={self.use_ema}"
            )
        self._last_rate = self.add_variable(
            shape=(),
            dtype="float32",
            aggregation="only_first_replica",
            name="last_learning_rate",
        )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the averages."""
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "average")

    def apply(
        self,
        grads: Sequence[Any],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Updates the variables and stores the learning rate for the next step.

        Args:
            grads: Gradients. `None` for a variable that the loss ignores.
            trainable_variables: The variables. The default is those of `build`.
        """
        rate = ops.convert_to_tensor(self.learning_rate, dtype="float32")
        before = ops.copy(self.iterations)
        super().apply(grads, trainable_variables)
        # With `gradient_accumulation_steps`, most calls end no iteration.
        last = ops.convert_to_tensor(self._last_rate)
        rate = ops.where(self.iterations > before, rate, last)
        _assign_copy(self._last_rate, rate)
        # Keras skips `update_step` for variables without a gradient. Their
        # average would stay zero.
        variables = trainable_variables or self._trainable_variables
        for gradient, variable in zip(grads, variables, strict=True):
            if gradient is None:
                _assign_copy(self._average_of(variable), variable)

    def _average_of(self, variable):
        return self.averages[self._get_variable_index(variable)]

    def update_step(
        self, gradient: Any, variable: keras.Variable, learning_rate: Any
    ) -> None:
        """Updates one variable and its average."""
        t = ops.cast(self.iterations, "float32")
        rate = ops.cast(learning_rate, "float32")
        rate = ops.where(t > 0, ops.convert_to_tensor(self._last_rate), rate)
        eta = rate / ops.power(1 + self.lambd * rate * t, self.alpha)
        mu = 1 / ops.maximum(t - self.t0, 1)

        dtype = variable.dtype
        kept = ops.cast(1 - self.lambd * eta, dtype)
        self.assign(variable, ops.multiply(variable, kept))
        step = ops.multiply(ops.cast(gradient, dtype), ops.cast(eta, dtype))
        self.assign_sub(variable, step)

        average = self._average_of(variable)
        old, new = map(ops.convert_to_tensor, (average, variable))
        moved = old + ops.cast(mu, dtype) * (new - old)
        # `mu` is 1 until `t0`. There, `moved` would differ from `new` by a
        # rounding error.
        self.assign(average, ops.where(mu < 1, moved, new))

    def finalize_variable_values(
        self, var_list: Sequence[keras.Variable]
    ) -> None:
        """Replaces the variables with their averages.

        Args:
            var_list: The variables.
        """
        if not ops.convert_to_numpy(self.iterations):
            return  # no step yet, so no averages
        for variable in var_list:
            average = self._average_of(variable)
            # Keras gives no average to variables that it overwrites with their
            # gradients.
            if average is not None:
                _assign_copy(variable, average)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "lambd": self.lambd,
            "alpha": self.alpha,
            "t0": self.t0,
        }


def _assign_copy(variable, value):
    """Assigns a copy of a value.

    On JAX a plain assignment shares the array. The training step deletes the
    arrays of the variables that it updates, so both would be lost.
    """
    variable.assign(ops.copy(value))
