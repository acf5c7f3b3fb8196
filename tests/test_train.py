"""The trainer: every recipe runs, learns, repeats to the same bits, keeps its memory, and refuses what cannot work."""

import resource

import numpy as np
import pytest
from tiny import arrays, samples, tiny

import fastgan as fg
from fastgan import data, nn
from fastgan.errors import CheckpointError, DataError, DivergedError, UsageError
from fastgan.gan.objectives import Objective
from fastgan.gan.quality import classes_kept, tally, vote


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


def test_simultaneous_penalties_lie_elsewhere_at_each_step():
    """The points between real and fake samples are drawn by the step's number."""
    recipe = tiny("wgan-gp-mlp").replace(simultaneous=True, critic_steps=1)
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu")
    drawn, draw = [], trainer.batches.draw
    trainer.batches.draw = lambda update, fake, **to: drawn.append((update, to)) or draw(update, fake, **to)
    trainer.fit(3)
    assert drawn == [(step, {"mixed": True}) for step in range(3)]


@pytest.mark.slow
def test_digits_are_learnt():
    trainer = fg.Trainer("digits", device="cpu", seed=1)
    digits = trainer.dataset
    start = distance(trainer.sample(200), digits)
    trainer.fit(700)
    drawn = trainer.sample(500)
    assert classes_kept(tally(vote(drawn, digits), digits)) >= 8
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


def test_every_own_part_must_come_again(tmp_path):
    mine = {
        "objective": Objective(
            real=lambda r: -r.mean(), fake=lambda f: f.mean(), generator=lambda f: -f.mean(), clip=0.1
        ),
        "critic": nn.Linear(64, 1),
    }
    trainer = fg.Trainer(tiny("digits"), device="cpu", **mine).fit(2)
    trainer.save(tmp_path / "a.safetensors")
    for name in mine:
        other = {key: x for key, x in mine.items() if key != name}
        with pytest.raises(CheckpointError, match=f"a {name} of its own"):
            fg.load(tmp_path / "a.safetensors", **other)
    again = fg.load(tmp_path / "a.safetensors", device="cpu", **mine)
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
    assert not np.allclose(trainer.sampler().pixels(raw), drawn)
    assert all((arrays(trainer)[k] == before[k]).all() for k in before)


def test_linear_schedule_reaches_its_end():
    recipe = tiny("toy-mlp").replace(optimizer=fg.OptimizerSettings(schedule="linear:0.5"), steps=10)
    trainer = fg.Trainer(recipe, data.load("digits"), device="cpu").fit()
    assert trainer.critic_optimizer.lr == pytest.approx(2e-4 * (1 - 0.5 * 0.9))


def test_fit_goes_up_to_the_recipes_steps_and_again_after_a_stop():
    class Stop(fg.Callback):
        def on_step(self, trainer):
            trainer.stop_wanted = True

    trainer = fg.Trainer(tiny("toy-mlp").replace(steps=6), data.load("digits"), device="cpu")
    assert trainer.fit(2).steps_done == 2
    assert trainer.fit(3, [Stop()]).steps_done == 3
    assert trainer.fit().steps_done == 6


def test_noise_draws_no_classes():
    digits = data.load("digits")
    noise = np.random.default_rng(0).random((500, 8, 8, 1), np.float32)
    assert classes_kept(tally(vote(noise, digits), digits), 500) == 0
    real = digits.scaled(0, 1)[:500].reshape(500, 8, 8, 1)
    assert classes_kept(tally(vote(real, digits), digits), 500) == 10


def test_a_network_without_hidden_layers_is_kept(tmp_path):
    recipe = tiny("toy-mlp").replace(critic=nn.Net(("linear o",)))
    fg.Trainer(recipe, data.load("digits"), device="cpu", seed=np.int64(3)).save(tmp_path / "a.safetensors")
    assert fg.load(tmp_path / "a.safetensors", device="cpu").recipe == recipe
