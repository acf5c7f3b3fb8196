"""Where the values of a run come from: options, a file, the recipe; and that a run's own file repeats it."""

from pathlib import Path

import pytest
import tomli_w
from cli_helpers import TINY, ok, same

from fastgan.cli import cli
from fastgan.cli.options import CHOICES, NETWORK, nested, value_at
from fastgan.cli.settings import choose
from fastgan.gan import RECIPES, Trainer, load
from fastgan.gan.published import PUBLISHED
from fastgan.gan.recipe import from_dict, leaves
from fastgan.gan.run import config
from fastgan.gan.state import arrays
from fastgan.nn import Net

pytestmark = pytest.mark.usefixtures("here")
SMALL = Net(("linear 4", "leaky_relu 0.2", "linear o"))


def settings(name=None, toml=None, **options):
    file = None
    if toml is not None:
        file = Path("some.toml")
        file.write_text(toml)
    return choose(name, file, options)


def test_options_come_before_the_file_and_that_before_the_recipe():
    toml = 'recipe = "keras-mlp"\nseed = 5\nbatch = 9\n[optimizer]\nlr = 1\nbeta1 = 0.25\n[critic]\nlayers = ["tanh"]\n'
    chosen = settings(None, toml, seed=8, optimizer__lr=0.75, generator__init_scale=2.0)
    recipe = chosen.recipe
    assert (recipe.name, chosen.machine["seed"], recipe.batch) == ("keras-mlp", 8, 9)
    assert (recipe.optimizer.lr, recipe.optimizer.beta1, recipe.optimizer.eps) == (0.75, 0.25, 1e-7)
    assert (recipe.generator.init_scale, recipe.critic.layers) == (2, ("tanh",))
    assert recipe.generator.batch_norm == RECIPES["keras-mlp"].generator.batch_norm


def test_a_short_run_is_looked_at_more_often_unless_told_otherwise():
    assert settings("digits").paced == ()
    short = settings("digits", steps=50)
    assert (short.recipe.log_every, short.recipe.sample_every, short.recipe.checkpoint_every) == (5, 5, 1000)
    told = settings("digits", "log_every = 50\n", steps=50, sample_every=25)
    assert (told.recipe.log_every, told.recipe.sample_every, told.paced) == (50, 25, ())


@pytest.mark.parametrize("name", list(RECIPES))
def test_config_toml_repeats_a_run(name):
    """What a run directory writes is read back as the same settings, for every recipe, plain and as published."""
    for as_published in (False, True) if name in PUBLISHED else (False,):
        recipe = RECIPES[name].as_published() if as_published else RECIPES[name]
        recipe = recipe.replace(batch=16, generator_lr=0.125)
        small = recipe.replace(generator=SMALL, critic=SMALL, data="ring" if recipe.points else "digits")
        trainer = Trainer(small, device="cpu", seed=4)
        values = config(trainer)
        chosen = settings(None, tomli_w.dumps(values))
        assert chosen.recipe == small
        assert (chosen.machine["seed"], chosen.machine["device"], chosen.source) == (
            4,
            "cpu",
            trainer.form.source,
        )


def test_config_toml_repeats_a_run_to_the_same_bits(capsys):
    ok(capsys, "train", "--steps", 2, *TINY, "--seed", 3, "--lr", 0.01, "--out", "a")
    ok(capsys, "train", "--config", "a/config.toml", "--out", "b")
    assert same(arrays(load("a", device="cpu")), arrays(load("b", device="cpu")))
    ok(capsys, "train", "--config", "a/config.toml", "--out", "c", "--lr", 0.02)
    assert not same(arrays(load("a", device="cpu")), arrays(load("c", device="cpu")))


def test_a_recipe_of_your_own_is_repeated_and_none_in_place_of_a_value():
    own = RECIPES["digits"].replace(name="mine", generator=SMALL, critic=SMALL, penalty=2.0, source="me")
    plain = RECIPES["ring-wgan-gp"].replace(penalty=None, generator=SMALL, critic=SMALL)
    for recipe in (own, plain):
        chosen = settings(None, tomli_w.dumps(config(Trainer(recipe, device="cpu")))).recipe
        assert (chosen.name, chosen.penalty, chosen.clip) == (recipe.name, recipe.penalty, None)


def test_every_value_of_a_recipe_has_an_option_and_help(capsys):
    out = ok(capsys, "train", "seo-numpy", "--help")
    for path, _ in leaves():
        assert "--" + "-".join(path).replace("_", "-") in out
    flat = " ".join(out.split())
    assert "[seo-numpy: 32]" in flat  # batch, of this recipe
    assert "[seo-numpy: linear 128; relu; linear o]" in flat
    assert "--lr, --optimizer-lr" in flat
    assert {path[-1] for path, field in leaves() if not field.metadata} == set(NETWORK)


def other(path, field, old):
    """Words that give a recipe's value another one."""
    flag = "--" + "-".join(path).replace("_", "-")
    if field.type is bool:
        return [f"--no-{flag[2:]}" if old else flag]
    special = {"line": "{step}", "layers": "linear 3; linear o", "schedule": "exponential:0.5"}
    choice = next((x for x in CHOICES.get(path[-1], ()) if x != old), None)
    number = str(old + 1) if isinstance(old, int) else "0.375"
    return [flag, choice or special.get(path[-1], number)]


def test_every_option_reaches_its_value():
    """Each option, given another value than the recipe's, changes exactly that value."""
    command, recipe = cli.commands["train"], RECIPES["digits"].replace(first=200)
    paths = [path for path, _ in leaves()]
    for path, field in leaves():
        with command.make_context("train", other(path, field, value_at(recipe, path))) as ctx:
            given = {k: v for k, v in ctx.params.items() if v is not None and k in map("__".join, paths)}
            assert list(given) == ["__".join(path)]
            changed = from_dict(nested(given), recipe)
        assert [p for p in paths if value_at(changed, p) != value_at(recipe, p)] == [path]
