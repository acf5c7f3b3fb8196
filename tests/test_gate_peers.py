"""The peers that are there for the GPU gate, on the CPU: their graphs and compilers are left out."""

import numpy as np
import pytest

from fastgan.benchmarks import peers

DATA = np.random.default_rng(5).uniform(0, 1, (200, 784)).astype(np.float32)


@pytest.mark.parametrize("recipe", peers.SETTINGS)
def test_compiled_torch_trains_as_eager_torch_does(recipe, monkeypatch):
    """Same initial weights and other random numbers: the losses stay close."""
    pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from fastgan.benchmarks.peers import torch_compiled, torch_eager

    monkeypatch.setattr(torch_compiled, "compiled", lambda function: function)
    ours = torch_compiled.make(recipe, DATA, seed=3, device="cpu")
    theirs = torch_eager.make(recipe, DATA, seed=3)
    assert ours.parameters == theirs.parameters
    assert ours.updates() == (0, 0)
    for _ in range(3):
        ours.step(), theirs.step()
        assert ours.losses() == pytest.approx(theirs.losses(), rel=0.03, abs=0.02)
    assert ours.updates() == theirs.updates()


@pytest.mark.parametrize("recipe", peers.SETTINGS)
@pytest.mark.parametrize("kind", ["graph", "compile"])
def test_torch_peers_put_everything_on_their_device(kind, recipe, monkeypatch):
    """On PyTorch's device without memory: a tensor left on the CPU does not mix with it."""
    torch = pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from fastgan.benchmarks.peers import torch_compiled, torch_eager

    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda p, *, fused, capturable, **rest: adam(p, **rest))
    monkeypatch.setattr(torch_compiled, "compiled", lambda function: function)
    row = peers.SETTINGS[recipe]
    if kind == "graph":
        gan = torch_eager.Gan(row, DATA, 0, device="meta", capturable=True)
    else:
        gan = torch_compiled._Gan(row, DATA, 0, "meta")
    for _ in range(2):
        gan.step()
    losses = [gan.critic_loss, gan.generator_loss] if kind == "graph" else gan.losses
    assert [loss.device.type for loss in losses] == ["meta"] * 2


def test_running_statistics_of_compiled_torch(monkeypatch):
    """After one step a fifth of the way from (0, 1) to the batch's: near eager PyTorch's, whose noise differs."""
    pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from fastgan.benchmarks.peers import torch_compiled, torch_eager

    monkeypatch.setattr(torch_compiled, "compiled", lambda function: function)
    row = peers.SETTINGS["keras-mlp"]
    gan, eager = torch_compiled._Gan(row, DATA, 3, "cpu"), torch_eager.Gan(row, DATA, 3)
    gan.step(), eager.step()
    norms = [layer for layer in eager.generator if hasattr(layer, "running_mean")]
    assert len(norms) == len(gan.running) == 3
    for (mean, variance), layer in zip(gan.running, norms, strict=True):
        assert float(mean.norm()) == pytest.approx(float(layer.running_mean.norm()), rel=0.3)
        assert float(1 - variance.mean()) == pytest.approx(float(1 - layer.running_var.mean()), rel=0.3)


@pytest.mark.parametrize("norm", [0.5, 3.0])
def test_penalty_of_compiled_torch(norm):
    torch = pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from fastgan.benchmarks.peers import torch_compiled

    real, fake, mix = torch.randn(5, 1), torch.randn(5, 1), torch.rand(5, 1)
    penalty = torch_compiled.gradient_penalty(lambda x: x * norm, real, fake, mix)
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-5)
    curved = torch_compiled.gradient_penalty(
        lambda x: x * x / 2, torch.tensor([[2.0]]), torch.tensor([[6.0]]), 0.25
    )
    assert curved.item() == pytest.approx((3 - 1) ** 2, rel=1e-5)  # the slope at 2 + (6 - 2) / 4


def test_a_captured_step_is_one_step_a_call(monkeypatch):
    """Three run aside, the fourth is captured, which runs nothing, and replayed."""
    pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from fastgan.benchmarks.peers import torch_graph

    log = []
    monkeypatch.setattr(torch_graph, "aside", lambda step: (log.append("aside"), step()))

    def capture(step):
        log.append("capture")
        return lambda: (log.append("replay"), step())

    monkeypatch.setattr(torch_graph, "capture", capture)
    peer = torch_graph.make("toy-mlp", DATA, seed=3, device="cpu")
    for done in range(1, 7):
        peer.step()
        assert peer.updates() == (done, done)
    assert log == ["aside"] * 3 + ["capture"] + ["replay"] * 3
