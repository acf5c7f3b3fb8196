"""The trainer: every recipe runs, learns, repeats to the same bits, keeps its memory, and refuses what cannot work."""

import resource

import numpy as np
import pytest
from tiny import SIDES, samples, tiny

import fastgan as fg
from fastgan import data, nn, random
from fastgan.errors import CheckpointError, DataError, DivergedError, ShapeError, UsageError
from fastgan.gan import state
from fastgan.gan.objectives import Objective
from fastgan.gan.quality import class_votes, classes_kept


def arrays(trainer):
    """Copies of all arrays of a run, by name."""
    return {name: array.copy() for name, array in state.arrays(trainer).items()}


@pytest.mark.parametrize("name", fg.recipes)
def test_every_recipe_trains(name):
    recipe = tiny(name)
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu", seed=3)
    before = arrays(trainer)
    logged = []

    class Log(fg.Callback):
        def on_log(self, trainer, metrics):
            logged.append(metrics)

    trainer.fit(4, [Log()])
    after = arrays(trainer)
    assert [m["step"] for m in logged] == ([1, 3, 4] if recipe.log_first else [2, 4])
    assert all(np.isfinite(list(m.values())).all() for m in logged)
    for side in SIDES:
        assert any((after[k] != before[k]).any() for k in after if k.startswith(f"{side}."))
    assert ("wasserstein" in logged[0]) == recipe.objective.startswith("wasserstein")
    assert ("accuracy" in logged[0]) != recipe.objective.startswith("wasserstein")
    assert ("penalty" in logged[0]) == (recipe.objective == "wasserstein-gp")
    assert trainer.sample(3).shape == (3, *trainer.form.shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", fg.recipes)
def test_same_seed_same_bits_other_seed_other_bits(name):
    def run(seed):
        trainer = fg.Trainer(tiny(name), samples(fg.recipes[name]), device="cpu", seed=seed).fit(3)
        return trainer.sample(4).tobytes()

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_updates_per_step():
    for name, critic_updates in (("wgan-mlp", 5), ("keras-mlp", 2), ("toy-mlp", 1), ("ring-gan", 1)):
        trainer = fg.Trainer(tiny(name), samples(fg.recipes[name]), device="cpu").fit(2)
        assert trainer.critic_optimizer.steps == 2 * critic_updates, name
        assert trainer.generator_optimizer.steps == 2, name


def test_clipped_critic_stays_in_bounds():
    trainer = fg.Trainer(tiny("wgan-mlp"), samples(tiny("wgan-mlp")), device="cpu").fit(3)
    buffer = trainer.critic_optimizer.flat.buffer
    assert abs(buffer).max() == np.float32(0.01)


def test_weights_are_clipped_after_both_halves_of_a_split_update():
    recipe = tiny("odog-wgan")
    trainer, largest = fg.Trainer(recipe, samples(recipe), device="cpu"), []
    update = trainer.work.critic_update
    trainer.work.critic_update = lambda *batch: (
        update(*batch),
        largest.append(abs(trainer.critic_optimizer.flat.buffer).max()),
    )[0]
    trainer.fit(1)
    assert [size <= np.float32(0.01) for size in largest] == [True] * recipe.critic_steps


def test_joint_pass_equals_two_passes():
    """Real and fake in one critic pass change no number beyond rounding."""
    recipe = tiny("cs231n-vanilla")
    together, apart = (fg.Trainer(recipe, samples(recipe), device="cpu") for _ in range(2))
    apart.work._together = False
    together.fit(5), apart.fit(5)
    for name, array in arrays(together).items():
        assert np.allclose(array, arrays(apart)[name], rtol=1e-4, atol=1e-6), name


def test_simultaneous_takes_both_gradients_at_one_point():
    """The critic's update does not see the generator's: with a zero rate for the generator it is the same."""
    recipe = tiny("ring-gan")
    moving = fg.Trainer(recipe, samples(recipe), device="cpu").fit(1)
    still = fg.Trainer(recipe.replace(generator_lr=0.0), samples(recipe), device="cpu").fit(1)
    a, b = arrays(moving), arrays(still)
    assert all((a[k] == b[k]).all() for k in a if k.startswith("critic."))
    assert any((a[k] != b[k]).any() for k in a if k.startswith("generator."))


def test_simultaneous_penalties_lie_elsewhere_at_each_step(monkeypatch):
    """The points between real and fake samples are drawn by the step's number."""
    recipe = tiny("wgan-gp-mlp").replace(simultaneous=True, critic_steps=1)
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu")
    drawn, uniform = [], random.uniform
    monkeypatch.setattr(random, "uniform", lambda *shape, **to: drawn.append(to) or uniform(*shape, **to))
    trainer.fit(3)
    assert [to["step"] for to in drawn if to["stream"] == random.Stream.EPSILON] == [0, 1, 2]


@pytest.mark.slow
def test_digits_are_learnt():
    trainer = fg.Trainer("digits", device="cpu", seed=1)
    digits = trainer.dataset
    start = distance(trainer.sample(200), digits)
    trainer.fit(700)
    drawn = trainer.sample(500)
    assert classes_kept(class_votes(drawn, digits)) >= 8
    assert distance(drawn[:200], digits) < 0.55 * start


def distance(drawn, dataset):
    """Mean distance from a drawn sample to the nearest real one, pixels in [0, 1]."""
    real = dataset.scaled(0, 1)
    x = drawn.reshape(len(drawn), -1)
    return np.sqrt(((x[:, None] - real) ** 2).sum(axis=2)).min(axis=1).mean()


@pytest.mark.slow
def test_memory_is_flat():
    recipe = tiny("wgan-gp-mlp").replace(log_every=100)
    trainer = fg.Trainer(recipe, data.load("digits"), device="cpu").fit(200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.fit(2000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 2048


def test_divergence_stops_within_an_interval():
    recipe = tiny("toy-mlp").replace(optimizer=fg.OptimizerSettings(kind="sgd", lr=1e30), log_every=5)
    trainer = fg.Trainer(recipe, data.load("digits"), device="cpu")
    with pytest.raises(DivergedError, match=r"not finite|is nan|is inf"):
        trainer.fit(50)
    assert trainer.steps_done <= 10


@pytest.mark.parametrize(
    "change",
    [{"batch": 0}, {"noise": "pink"}, {"objective": "gan"}, {"ema": 1.0}, {"sampling": "x"}, {"bach": 3}],
)
def test_bad_recipes_are_refused(change):
    with pytest.raises(UsageError) as error:
        fg.recipes["digits"].replace(**change)
    assert "\n" not in str(error.value)


def test_wrong_kind_of_data_is_refused():
    with pytest.raises(DataError, match="wanted points"):
        fg.Trainer("ring-gan", data.load("digits"), device="cpu")
    with pytest.raises(DataError, match="wanted images"):
        fg.Trainer("digits", data.load("ring"), device="cpu")


def test_too_few_samples_are_refused():
    with pytest.raises(DataError, match="wanted at least a batch of 64"):
        fg.Trainer("digits", data.load("digits").take(slice(0, 20)), device="cpu")


def test_networks_that_do_not_fit_are_named():
    wrong = nn.Sequential(nn.Linear(32, 10))
    with pytest.raises(UsageError, match=r"the generator gives shape \(10,\) per sample, wanted \(64,\)"):
        fg.Trainer("digits", device="cpu", generator=wrong)
    with pytest.raises(UsageError, match="the critic gives scores"):
        fg.Trainer("digits", device="cpu", critic=nn.Linear(64, 2))
    with pytest.raises(ShapeError, match="linear: got x"):
        fg.Trainer("digits", device="cpu", critic=nn.Linear(63, 1))


def test_batch_norm_under_a_penalty_is_refused():
    critic = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm(8), nn.Linear(8, 1))
    with pytest.raises(UsageError, match="BatchNorm under a gradient penalty"):
        fg.Trainer("digits", device="cpu", critic=critic)


def test_dropout_in_the_critic_repeats(tmp_path):
    def run(steps, critic_seed=4):
        critic = nn.Sequential(
            nn.Linear(64, 8), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(8, 1), seed=critic_seed
        )
        recipe = tiny("digits").replace(
            objective="hinge", optimizer=fg.OptimizerSettings()
        )  # a constant rate
        return fg.Trainer(recipe, device="cpu", critic=critic).fit(steps)

    whole = run(6)
    run(2).save(tmp_path / "a.safetensors")
    critic = nn.Sequential(nn.Linear(64, 8), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(8, 1))
    resumed = fg.load(tmp_path / "a.safetensors", device="cpu", critic=critic).fit(4)
    for name, array in arrays(whole).items():
        assert (array == arrays(resumed)[name]).all(), name


def test_own_objective_and_load_without_it(tmp_path):
    mine = Objective(
        real=lambda r: -r.mean(), fake=lambda f: f.mean(), generator=lambda f: -f.mean(), clip=0.1
    )
    trainer = fg.Trainer(tiny("digits"), device="cpu", objective=mine).fit(2)
    trainer.save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="of its own"):
        fg.load(tmp_path / "a.safetensors")
    again = fg.load(tmp_path / "a.safetensors", device="cpu", objective=mine)
    assert (again.sample(4, seed=1) == trainer.sample(4, seed=1)).all()


def test_array_data_must_come_again_to_train_on(tmp_path):
    images = data.load("digits").samples
    trainer = fg.Trainer(tiny("digits"), images, device="cpu").fit(2)
    trainer.save(tmp_path / "a.safetensors")
    again = fg.load(tmp_path / "a.safetensors", device="cpu")
    assert again.sample(2).shape == (2, 8, 8, 1)
    with pytest.raises(UsageError, match="pass it to load"):
        again.fit(1)
    with pytest.raises(DataError, match="other data"):
        fg.load(tmp_path / "a.safetensors", data=images[::-1].copy(), device="cpu")
    fg.load(tmp_path / "a.safetensors", data=images, device="cpu").fit(1)


def test_sample_uses_the_average_and_leaves_training_alone():
    trainer = fg.Trainer(tiny("digits").replace(ema=0.9), device="cpu").fit(3)
    before = arrays(trainer)
    raw = trainer.generator(trainer.latent(4, 0, stream=fg.random.Stream.SAMPLE)).data
    drawn = trainer.sample(4)
    assert not np.allclose(trainer.pixels(raw), drawn)
    assert all((arrays(trainer)[k] == before[k]).all() for k in before)


def test_linear_schedule_reaches_its_end():
    recipe = tiny("toy-mlp").replace(optimizer=fg.OptimizerSettings(schedule="linear:0.5"), steps=10)
    trainer = fg.Trainer(recipe, data.load("digits"), device="cpu").fit()
    assert trainer.critic_optimizer.lr == pytest.approx(2e-4 * (1 - 0.5 * 0.9))


def test_settings_that_would_be_ignored_are_refused():
    split = tiny("keras-mlp").replace(objective="wasserstein-gp")
    with pytest.raises(UsageError, match="split updates"):
        fg.Trainer(split, data.load("digits"), device="cpu")
    several = tiny("ring-gan").replace(critic_steps=5)
    with pytest.raises(UsageError, match="simultaneous"):
        fg.Trainer(several, samples(several), device="cpu")
    for change in ({"low": 1.0}, {"first": -5}):
        with pytest.raises(UsageError):
            fg.recipes["digits"].replace(**change)


def test_fit_goes_up_to_the_recipes_steps_and_again_after_a_stop():
    class Stop(fg.Callback):
        def on_step(self, trainer):
            trainer.stop_wanted = True

    trainer = fg.Trainer(tiny("toy-mlp").replace(steps=6), data.load("digits"), device="cpu")
    assert trainer.fit(2).steps_done == 2
    assert trainer.fit(3, [Stop()]).steps_done == 3
    assert trainer.fit().steps_done == 6
    with pytest.raises(UsageError, match="wanted 0 or more"):
        trainer.fit(-1)


def test_noise_draws_no_classes():
    digits = data.load("digits")
    noise = np.random.default_rng(0).random((500, 8, 8, 1), np.float32)
    assert classes_kept(class_votes(noise, digits), 500) == 0
    real = digits.scaled(0, 1)[:500].reshape(500, 8, 8, 1)
    assert classes_kept(class_votes(real, digits), 500) == 10


def test_a_network_without_hidden_layers_is_kept(tmp_path):
    recipe = tiny("toy-mlp").replace(critic=nn.MLP(()))
    fg.Trainer(recipe, data.load("digits"), device="cpu", seed=np.int64(3)).save(tmp_path / "a.safetensors")
    assert fg.load(tmp_path / "a.safetensors", device="cpu").recipe == recipe


def test_every_own_part_must_come_again(tmp_path):
    critic = nn.Linear(64, 1)
    mine = Objective(real=lambda r: -r.mean(), fake=lambda f: f.mean(), generator=lambda f: -f.mean())
    fg.Trainer(tiny("digits"), device="cpu", critic=critic, objective=mine).save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="a critic of its own"):
        fg.load(tmp_path / "a.safetensors", objective=mine)
