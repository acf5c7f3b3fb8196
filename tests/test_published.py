"""The mistakes that `--as-published` makes, each against what it says it is, and the files that hold them."""

import numpy as np
import pytest
from tiny import samples, tiny

import fastgan as fg
from fastgan import ops
from fastgan.errors import UsageError
from fastgan.gan.objectives import gradient_penalty
from fastgan.gan.published import PUBLISHED, ConstantAdam, SeoOutput, column_penalty, seo_sigmoid_layer
from fastgan.gan.recipe import from_dict
from fastgan.nn import Linear
from fastgan.optim import Adam
from fastgan.tape import Tensor, grad


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_as_published_differs_and_runs(name):
    recipe = fg.recipes[name]
    published = recipe.as_published()
    changed = {k for k, v in published.to_dict().items() if recipe.to_dict().get(k) != v}
    assert changed == {*PUBLISHED[name].changes, "published"}
    assert PUBLISHED[name].note
    fg.Trainer(published.replace(steps=2), samples(recipe), device="cpu").fit(2)


def test_own_parts_stand_where_the_recipes_would():
    """And not where a setting asks for another."""
    trainer = fg.Trainer(tiny("seo-numpy").as_published(), device="cpu", data="digits")
    assert type(trainer.critic_optimizer) is type(trainer.generator_optimizer) is ConstantAdam
    assert isinstance(list(trainer.generator.modules())[-1], SeoOutput)
    assert trainer.objective.fake(Tensor(np.zeros((1, 1)))).item() == pytest.approx(-np.log(2))
    layers = [*trainer.recipe.generator.layers[:-1], "tanh"]
    changes = {"objective": "hinge", "generator": {"layers": layers}, "optimizer": {"kind": "sgd"}}
    other = from_dict(changes, trainer.recipe)
    trainer = fg.Trainer(other, device="cpu", data="digits")
    assert trainer.objective == fg.objectives["hinge"]
    assert not {SeoOutput, ConstantAdam} & {
        type(trainer.critic_optimizer), *map(type, trainer.generator.modules())
    }  # fmt: skip


SEO = {  # the generator by the widths of its layers
    "hidden": [128, 256, 346, 480, 560, 686],
    "activation": ["arctan", "relu", "arctan", "relu", "tanh", "relu"],
    "output": "seo_sigmoid",
    "init": "he_normal",
    "init_scale": 0.002,
    **dict.fromkeys(("batch_norm", "dropout"), 0.0),
    **{
        "slope": 0.2,
        "norm_first": False,
        "norm_eps": 1e-5,
        "norm_correction": 1.0,
        "hidden_bias": True,
        "pieces": 5,
    },
}
OLD = {  # what version 0.1 wrote of a run as published: all values, of which these had other names
    "seo-numpy": {"objective": "seo-published", "generator": SEO},
    "hs-wgan-gp": {"objective": "hs-published"},
}


@pytest.mark.parametrize("name", OLD)
def test_files_of_version_0_1_are_understood(name):
    recipe = fg.recipes[name].as_published()
    values = {key: x for key, x in recipe.to_dict().items() if key != "published"}
    constant = {"optimizer": values["optimizer"] | {"constant_correction": name == "seo-numpy"}}
    assert from_dict(values | OLD[name] | constant, fg.recipes[name]) == recipe
    assert from_dict(constant, fg.recipes["digits"]).published == ""


def test_a_norm_for_each_column():
    """A critic whose gradient is w everywhere: one norm for a sample, or by mistake one for each of its columns."""
    w = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32) / 8
    x = Tensor(np.zeros((3, 32 * 32), np.float32))
    args = lambda x: x @ Tensor(w.reshape(-1, 1)), x, x, Tensor(np.zeros((3, 1), np.float32))
    norms = np.linalg.norm(w, axis=0)
    assert float(gradient_penalty(*args).data) == pytest.approx((np.linalg.norm(w) - 1) ** 2, rel=1e-5)
    assert float(column_penalty(*args).data) == pytest.approx(((norms - 1) ** 2).mean(), rel=1e-5)
    critic = (
        fg.recipes["hs-wgan-gp"].as_published().critic
    )  # with batch norm, which only the mistake lets through
    with pytest.raises(UsageError, match="BatchNorm under a gradient penalty"):
        fg.Trainer(
            fg.recipes["hs-wgan-gp"].replace(critic=critic),
            np.arange(120 * 784).reshape(-1, 28, 28, 1) % 251,
            device="cpu",
        )


def test_constant_correction_ends_at_a_third_of_the_step():
    """sqrt(1 - 0.999) / (1 - 0.9) = 0.316: what Seo's Adam makes of late steps."""
    moved = []
    for make in (Adam, ConstantAdam):
        x = Tensor(np.zeros(1, np.float32), requires_grad=True)
        optimizer = make([x], lr=1e-3)
        for _ in range(20_000):
            before = x.data.copy()
            optimizer.step([np.ones(1, np.float32)])
        moved.append(float((before - x.data)[0]))
    assert moved[0] == pytest.approx(1e-3, rel=1e-2)
    assert moved[1] / moved[0] == pytest.approx(0.316, abs=0.005)


def test_the_output_layer_is_wrong_in_the_weight_alone():
    rng = np.random.default_rng(0)
    layer = SeoOutput(Linear(3, 2))
    x, g = (Tensor(rng.normal(size=s).astype(np.float32), requires_grad=True) for s in [(5, 3), (5, 2)])
    w, b = layer.weight, layer.bias
    right = grad([ops.sigmoid(ops.linear(x, w, b))], [x, w, b], [g])
    for wrong in (grad([layer(x)], [x, w, b], [g]), grad([seo_sigmoid_layer(x, w, b)], [x, w, b], [g])):
        for k in (0, 2):
            np.testing.assert_allclose(wrong[k].data, right[k].data, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(wrong[1].data, x.data.T @ g.data**2, rtol=1e-5, atol=1e-6)
        assert abs(wrong[1].data - right[1].data).max() > 0.1
