"""Whether a peer trains the same networks by the same step as fastgan, which is found out before anything is timed.

Networks are compared number by number, on the same inputs, from the same parameters. Steps cannot be: everybody draws
noise of their own in them. So all of them train for a few steps on one image repeated, which leaves the noise alone to
tell them apart, and what they did (losses, how far each parameter has moved) must agree within what fastgan's own seeds
differ by (`spreads`). That finds a rate that is a tenth too high, another beta1, a missing update or a forgotten
penalty; not another beta2 where the gradients hardly change, and half a batch in most recipes only.

What is compared travels between processes as plain arrays, "facts", and may arrive flat.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastgan as fg
from fastgan.benchmarks.peers.settings import ALL, CONVOLUTIONAL, Arrays, Images, Peer
from fastgan.benchmarks.peers.spreads import SPREADS, Spread
from fastgan.device import to_device, to_host
from fastgan.tape import Tensor, no_grad

Facts = Sequence[NDArray[Any]]  # images, scores, losses of each step, moves of each parameter, counts

STEPS = 5  # enough to tell steps apart; later each run goes its own way
PLAYED = 32  # images and scores that are compared
DENSE_TOLERANCE = 1e-4  # of the largest number: sums of float32 in another order
CONVOLUTION_TOLERANCE = 1e-3  # libraries may transform images first (Winograd's, Fourier's algorithms)
ALLOWED = 6.0  # standard deviations of the difference of two runs
ROUNDING = 0.002  # the least deviation that is believed, of losses below 1 and of relative moves


def start_like(trainer: fg.Trainer) -> tuple[Arrays, Arrays]:
    """Copies of a trainer's parameters, (generator, critic), as `Peer.start` takes them."""
    networks = trainer.generator, trainer.critic
    generator, critic = ([np.array(to_host(p.data)) for p in network.parameters()] for network in networks)
    return generator, critic


def trainer_facts(trainer: fg.Trainer, steps: int = STEPS) -> list[NDArray[Any]]:
    """What a new trainer's networks make of fixed inputs, and what its first steps do; it trains on one image."""
    played, start, before, done = _played(trainer), start_like(trainer), _updates(trainer), trainer.steps_done
    trainer.fit(steps)
    losses = to_host(trainer.work.ring.array)[np.arange(done, done + steps) % len(trainer.work.ring.array)]
    counts = [*_sizes(trainer), *(np.array(_updates(trainer)) - before), trainer.recipe.batch]
    return [*played, losses, _moves(start, start_like(trainer)), np.array(counts)]


def peer_facts(peer: Peer, steps: int = STEPS) -> list[NDArray[Any]]:
    """The same of a new peer with the same start; what batch it takes is not to be seen from outside."""
    played, start, before = peer.play(*_inputs(peer.latent)), peer.values(), peer.updates()
    losses = []
    for _ in range(steps):
        peer.step()
        losses.append(peer.losses())
    counts = [*peer.parameters, *(np.array(peer.updates()) - before)]
    return [*played, np.array(losses), _moves(start, peer.values()), np.array(counts)]


def disagreement(ours: Facts, theirs: Facts, recipe: str, *, resized: bool = False) -> str:
    """Why a peer does not do what fastgan does, or "". The trainer may have had another batch than the recipe's.

    Networks that are `resized` have spreads of their own, which nobody measured: three times the recipe's widest.
    """
    counts, batch = ours[4][:4].astype(int), int(ours[4][4])
    if reason := _networks_differ(ours[:2], theirs[:2], counts[:2], theirs[4][:2], recipe):
        return reason
    if not np.array_equal(counts[2:], theirs[4][2:]):
        updates = [tuple(int(n) for n in x) for x in (theirs[4][2:], counts[2:])]
        return f"made {updates[0]} updates (generator, critic), wanted {updates[1]}"
    wider = (ALL[recipe].batch / batch) ** 0.5  # as means of fewer samples are
    spread = SPREADS[recipe]
    if resized:
        spread = Spread((3 * max(spread.losses),) * 2, (3 * max(spread.moves),) * len(ours[3]))
    return _steps_differ(ours, theirs, spread, ALLOWED * max(1.0, wider) * 2**0.5)


def play(trainer: fg.Trainer, z: Images, x: Images) -> tuple[Images, Images]:
    """Images (n, 784) of z in training mode, which leave no trace in running statistics, and the scores (n, 1) of x."""
    generator, critic, device = trainer.generator, trainer.critic, trainer.device
    kept = [array.copy() for _, array in generator.named_state()]
    with no_grad():
        images = generator.train()(Tensor(to_device(z, device)))
        scores = critic.train()(Tensor(to_device(x, device)))
    for (_, array), old in zip(generator.named_state(), kept, strict=True):
        array[...] = old
    return to_host(images.data), to_host(scores.data)


def _played(trainer: fg.Trainer) -> tuple[Images, Images]:
    return play(trainer, *_inputs(trainer.recipe.latent))


def _inputs(latent: int) -> tuple[Images, Images]:
    """Noise and images, in [-1, 1), that are the same for everybody."""
    rng = np.random.default_rng(0)
    z, x = (rng.uniform(-1, 1, (PLAYED, size)).astype(np.float32) for size in (latent, 784))
    return z, x


def _sizes(trainer: fg.Trainer) -> NDArray[Any]:
    return np.array([network.count(trained_only=True) for network in (trainer.generator, trainer.critic)])


def _updates(trainer: fg.Trainer) -> tuple[int, int]:
    return trainer.generator_optimizer.steps, trainer.critic_optimizer.steps


def _moves(old: tuple[Arrays, Arrays], new: tuple[Arrays, Arrays]) -> NDArray[np.float64]:
    """How far each parameter went, per number in it: root mean squares, the generator's, then the critic's."""
    pairs = zip(old[0] + old[1], new[0] + new[1], strict=True)
    return np.array([np.sqrt(np.mean(np.square(b - a, dtype=np.float64))) for a, b in pairs])


def _networks_differ(ours: Facts, theirs: Facts, sizes: NDArray[Any], their_sizes: Any, recipe: str) -> str:
    if not np.array_equal(sizes, their_sizes):
        found, wanted = (tuple(int(n) for n in x) for x in (their_sizes, sizes))
        return f"trains {found} numbers (generator, critic), wanted {wanted}"
    tolerance = CONVOLUTION_TOLERANCE if recipe in CONVOLUTIONAL else DENSE_TOLERANCE
    for name, mine, other in zip(("images", "scores"), ours, theirs, strict=True):
        gap = np.abs(other.ravel() - mine.ravel()).max() / np.abs(mine).max()
        if not gap <= tolerance:
            return f"{name} differ by {gap:.1e} of the largest from the same parameters, {tolerance:.0e} is allowed"
    return ""


def _steps_differ(ours: Facts, theirs: Facts, spread: Spread, allowed: float) -> str:
    """Compare the losses' means over the steps, and how far parameters moved; `allowed` in standard deviations."""
    losses, wanted = (facts[2].reshape(-1, 2) for facts in (theirs, ours))
    for name, found, mine, width in zip(
        ("critic", "generator"), losses.mean(axis=0), wanted.mean(axis=0), spread.losses, strict=True
    ):
        if not abs(found - mine) <= allowed * max(width, ROUNDING * min(1.0, abs(mine))):
            return f"the {name}'s loss over {len(losses)} steps is {found:.4g}, fastgan's {mine:.4g}"
    # By the mean of both: where a single number goes to and fro, either may have got nowhere.
    gaps = np.abs(theirs[3] - ours[3]) / np.maximum((theirs[3] + ours[3]) / 2, 1e-30)
    sizes = gaps / np.maximum(spread.moves, ROUNDING)
    if sizes.max() <= allowed:
        return ""
    worst = int(np.argmax(sizes))
    ratio = theirs[3][worst] / max(ours[3][worst], 1e-30)
    return f"parameter {worst} moved {ratio:.4g} times as far as fastgan's in {len(losses)} steps"
