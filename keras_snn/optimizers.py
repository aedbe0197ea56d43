"""Optimizers of the experiments that Keras does not have."""

import keras
from keras import ops

from keras_snn.validation import check_number


@keras.saving.register_keras_serializable(package="keras_snn")
class ASGD(keras.optimizers.Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992).

    In iteration `t`, counted from 0, at the rate `r`:

    - `eta = r / (1 + lambd r t)^alpha`
    - `w = w - eta (gradient + lambd w)`
    - `average = average + (w - average) / max(1, t - t0)`

    These are the numbers of `torch.optim.ASGD`. As there, a rate acts one
    iteration late: `r` is what a schedule, or a callback, said for `t - 1`. And
    until `t0` the average is `w` itself.

    The averages are kept beside the weights, as the list `averages`. They
    become the weights of the model where Keras asks an optimizer for the final
    ones, as under `use_ema`: at the end of `fit`, and in a loop of your own by
    `optimizer.finalize_variable_values(model.trainable_variables)`. Up to `t0`
    that changes nothing. Thereafter, what `fit` saves after an epoch holds
    weights and averages, and goes on as if never interrupted; a second `fit` of
    the same model starts from the averages.

    Args:
        learning_rate: A float, a schedule of `keras.optimizers.schedules`, or a
            callable without arguments.
        lambd: Decay of the weights, and of `eta`, at least 0.
        alpha: Power of the decay of `eta`, at least 0.
        t0: Iteration after which averaging sets in, at least 0.
        **kwargs: Those of `keras.optimizers.Optimizer`, without `use_ema`.
            Its `weight_decay` acts beside the gradient, as in AdamW.

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
    >>> optimizer.finalize_variable_values([w])  # of the last two iterations
    >>> ops.convert_to_numpy(w).tolist()
    [-0.25, 0.75]
    """

    def __init__(
        self, learning_rate=0.01, lambd=1e-4, alpha=0.75, t0=1e6, **kwargs
    ):
        super().__init__(learning_rate, **kwargs)
        check_number("lambd", lambd, included="low")
        check_number("alpha", alpha, included="low")
        check_number("t0", t0, included="low")
        if self.use_ema:
            raise ValueError(
                "`use_ema` must be False: `ASGD` keeps averages of its own. "
                f"Received: use_ema={self.use_ema}"
            )
        self.lambd, self.alpha, self.t0 = lambd, alpha, t0
        self._last_rate = self.add_variable(
            shape=(),
            dtype="float32",
            aggregation="only_first_replica",
            name="last_learning_rate",
        )

    def build(self, variables):
        """Makes the averages."""
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "average")

    def apply(self, grads, trainable_variables=None):
        """Takes a step, and keeps its rate for the next."""
        rate = ops.convert_to_tensor(self.learning_rate, dtype="float32")
        super().apply(grads, trainable_variables)
        self._last_rate.assign(rate)
        # The average of what no gradient reaches, or it would end as zeros.
        variables = trainable_variables or self._trainable_variables
        for gradient, variable in zip(grads, variables, strict=True):
            if gradient is None:
                self.assign(self._average_of(variable), variable)

    def _average_of(self, variable):
        return self.averages[self._get_variable_index(variable)]

    def update_step(self, gradient, variable, learning_rate):
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
        old, new = (
            ops.convert_to_tensor(average),
            ops.convert_to_tensor(variable),
        )
        moved = old + ops.cast(mu, dtype) * (new - old)
        self.assign(average, ops.where(mu < 1, moved, new))

    def finalize_variable_values(self, var_list):
        """Gives the variables the values of their averages."""
        if not ops.convert_to_numpy(self.iterations):
            return  # there are none yet
        for variable in var_list:
            average = self._average_of(variable)
            # Keras keeps nothing for what it overwrites with its gradient.
            if average is not None:
                variable.assign(average)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {
            "lambd": self.lambd,
            "alpha": self.alpha,
            "t0": self.t0,
        }
