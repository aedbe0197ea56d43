"""One run: what it records, and how it goes on."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from experiments import training
from experiments.records import Record, trains
from experiments.training import Trainer
from keras_snn import callbacks

KEPT = ("loss", "accuracy", "tested", "to_60", "rates")


def kept(record):
    return {name: getattr(record, name) for name in KEPT}


def test_a_record_says_what_was_done(whole, digits):
    assert Record.from_json(whole.to_json()) == whole
    assert whole.iterations == len(whole.loss) == len(whole.accuracy) == 12
    assert [at for at, _ in whole.tested] == [5, 10, 12]
    assert all(0 <= hits <= 360 for _, hits in whole.tested)
    assert (whole.train_samples, whole.test_samples) == (1437, 360)
    assert whole.rates["iteration"] == [0, 5, 10, 12]
    assert list(whole.rates)[1:] == ["lif1", "lif2", "lif3", "lif4"]
    assert {len(x) for x in whole.rates.values()} == {4}
    assert 0 < whole.rates["lif1"][0] < 1
    assert whole.versions["keras"] == keras.__version__
    assert whole.backend == keras.config.backend()
    assert whole.recipe == digits


@pytest.mark.slow
def test_rates_are_measured_more_often_at_first(digits, data, monkeypatch):
    monkeypatch.setattr(training, "EVERY", 2)
    monkeypatch.setattr(training, "UNTIL", 6)
    record = Trainer(digits, data, 9).run()
    assert record.rates["iteration"] == [0, 2, 4, 5, 6, 9]


def test_curves_agree_with_fit(digits, data, whole):
    model = digits.build((8, 8, 1), 5)
    history = model.fit(
        digits.batches(*data[0]),
        shuffle=False,
        callbacks=[callbacks.EpochSeeds(0)],
        verbose=0,
    ).history
    # A record has three digits.
    for name in ("loss", "accuracy"):
        mean = np.mean(getattr(whole, name)[:5])
        assert mean == pytest.approx(history[name][0], rel=2e-3)


def test_a_short_run_is_the_beginning_of_a_long_one(digits, data, whole):
    short = Trainer(digits, data, 7).run()
    assert short.loss == whole.loss[:7]
    assert short.accuracy == whole.accuracy[:7]
    assert len(set(short.accuracy)) > 3  # it trains
    assert short.rates["lif1"][0] == whole.rates["lif1"][0]
    assert short.tested[0] == whole.tested[0]


def test_no_iterations_measure_the_untrained_network(digits, data, whole):
    record = Trainer(digits, data, 0).run()
    assert record.loss == record.tested == []
    assert record.rates["iteration"] == [0]
    for name in ("lif1", "lif4"):
        assert record.rates[name][0] == whole.rates[name][0]


@pytest.mark.slow
def test_rates_are_those_of_the_current_weights(digits, data):
    # The retina-like code is not random.
    trainer = Trainer(digits.vary({"network.encoder": "retina"}), data, 4)
    record = trainer.run()
    after = callbacks.firing_rates(trainer.model, data[1][0][: training.PROBE])
    for name, (rate, _) in after.items():
        # A record has three digits.
        assert record.rates[name][1] == pytest.approx(rate, rel=5e-3)
    before, last = record.rates["lif1"]
    assert last != before


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("before", ["history", "checkpoint"])
def test_a_killed_run_goes_on(
    digits, data, whole, tmp_path, monkeypatch, before
):
    owner = callbacks.Checkpoint if before == "checkpoint" else training._Watch
    on_epoch_end = owner.on_epoch_end

    def stop(self, epoch, logs=None):
        if epoch == 1:
            raise Killed
        on_epoch_end(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, "on_epoch_end", stop)
        with pytest.raises(Killed):
            Trainer(digits, data, 12, tmp_path).run()
    trainer = Trainer(digits, data, 12, tmp_path)
    assert trainer.done == 5
    assert kept(trainer.run()) == kept(whole)
    # A finished run is not trained again.
    assert kept(Trainer(digits, data, 12, tmp_path).run()) == kept(whole)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(x)["epoch"] for x in lines] == [0, 1, 2]
    last = json.loads(lines[-1])
    assert {"loss", "val_accuracy", "lif1_firing_rate"} <= set(last)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["checkpoint.keras", "progress.json"])
def test_a_damaged_run_starts_again(digits, data, tmp_path, damage):
    Trainer(digits, data, 5, tmp_path).run()
    (tmp_path / damage).write_text("{}")
    with pytest.warns(
        UserWarning, match="cannot be resumed. The run starts from"
    ):
        trainer = Trainer(digits, data, 5, tmp_path)
    assert trainer.done == 0


@pytest.mark.slow
def test_a_run_does_not_go_back(digits, data, tmp_path):
    Trainer(digits, data, 10, tmp_path).run()
    with pytest.raises(ValueError, match="at least 10, which .*Received: 5"):
        Trainer(digits, data, 5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [3, 12])
def test_a_run_that_ended_within_an_epoch_is_kept(
    digits, data, tmp_path, iterations
):
    ended = Trainer(digits, data, 7, tmp_path).run()
    text = f"must be 7, where the run in .*Received: {iterations}"
    with pytest.raises(ValueError, match=text):
        Trainer(digits, data, iterations, tmp_path)
    assert kept(Trainer(digits, data, 7, tmp_path).run()) == kept(ended)


def test_a_run_is_not_longer_than_its_epochs(digits, data):
    with pytest.raises(ValueError, match="at most 50, which .*Received: 51"):
        Trainer(digits, data, 51)


@pytest.mark.slow
def test_a_nan_loss_ends_a_run(digits, data):
    changes = {"training.optimizer": "sgd", "training.learning_rate": 1e38}
    record = Trainer(digits.vary(changes), data, 12).run()
    assert 1 < record.lost < 12
    assert len(record.loss) == record.lost - 1
    json.dumps(dataclasses.asdict(record), allow_nan=False)
    assert not trains([record], 12)


def test_long_curves_are_thinned(digits):
    values = np.arange(1, 1 + 3000 + 2 * 25 + 3) / 4096
    history = {
        "loss": values.tolist(),
        "accuracy": values.tolist(),
        "tested": [],
        "rates": {"iteration": []},
        "seconds": 1.0,
    }
    record = training.make_record(digits, len(values), history, 1437, 360)
    assert len(record.accuracy) == 3000
    # The mean of an arithmetic sequence is its middle.
    wanted = np.array([3013, 3038, 3052]) / 4096
    assert record.later["accuracy"] == pytest.approx(wanted, rel=2e-3)
    # 0.6 x 4096 = 2457.6.
    assert record.to_60 == 2458
    at, curve = record.curve("accuracy")
    assert at[-4:].tolist() == [3000, 3025, 3050, 3053]
    assert len(at) == len(curve) == 3003
    assert record.curve("accuracy", 3030)[0][-1] == 3025
    # Means within the last 20 iterations are the end of the curve.
    assert record.accuracy_at(3053) == curve[-2:].mean()
