"""The two updates of a GAN, each a loss and a gradient in a flat buffer: on the tape, or as a chain of passes.

`TapeUpdates` runs any pair of networks and any objective. `ChainUpdates` runs dense networks under the built-in
objectives with the same numbers and far fewer steps in between (see fastgan/nn/chain.py); `updates_for` picks.

Shapes: `n` batch, `f` features of a sample, `z` latent. Samples come as one array: real, then fake, then mixed.
"""

from typing import Protocol

from fastgan import random
from fastgan.clock import Count
from fastgan.device import Array, array_module, device_of
from fastgan.gan.objectives import Objective, ScoreLoss, gradient_penalty
from fastgan.nn import BatchNorm, Chain, Dropout, MinibatchStdDev, Module
from fastgan.random import Stream
from fastgan.tape import Tensor, grad, no_grad

Gradients = list[Array]
Terms = tuple[Array, ...]  # one or two arrays of shape () whose sum is a loss


class Updates(Protocol):
    """Losses, each of shape (), whose gradients are written to one array per parameter."""

    last: dict[str, Array]  # scores of the last critic update, and its penalty

    @property
    def draws_mixed(self) -> bool:
        """Whether the critic is to be given mixed samples besides real and fake ones."""

    def generate(self, z: Array, *, training: bool = True) -> Array:
        """Fakes (n, f) of latents, by the generator in training or inference mode."""

    def critic(self, x: Array, fake: Array | None, update: int | Count, gradients: Gradients) -> Terms:
        """The whole critic loss, the penalty apart; x holds real samples, then fake (and mixed) ones.

        Where a layer mixes samples, `fake` has the fake ones instead, for a pass of their own.
        """

    def critic_part(self, x: Array, real: bool, gradients: Gradients) -> Array:
        """The critic's loss on samples that are all real or all fake."""

    def generator(self, z: Array, gradients: Gradients) -> Array:
        """The generator's loss on the fakes of z."""


class TapeUpdates:
    """Updates of any networks, recorded and differentiated by the tape."""

    draws_mixed = False

    def __init__(self, generator: Module, critic: Module, objective: Objective, *, seed: int) -> None:
        self.generator_network, self.critic_network = generator, critic
        self.objective, self.seed = objective, seed
        self.last: dict[str, Array] = {}

    def generate(self, z: Array, *, training: bool = True) -> Array:
        """See Updates."""
        self.generator_network.train(training)
        with no_grad():
            fakes = self.generator_network(Tensor(z)).data
        self.generator_network.train()
        return fakes

    def critic(self, x: Array, fake: Array | None, update: int | Count, gradients: Gradients) -> Terms:
        """See Updates."""
        loss = self._critic_loss(x, fake, update)
        self._write(loss, self.critic_network, gradients)
        return (loss.data,)

    def _critic_loss(self, x: Array, fake: Array | None, update: int | Count) -> Tensor:
        if fake is None:  # real and fake share one pass
            n = len(x) // 2
            real, fake = x[:n], x[n:]
            scores = self.critic_network(Tensor(x))
            real_scores, fake_scores = scores[:n], scores[n:]
        else:
            real = x
            real_scores, fake_scores = self.critic_network(Tensor(x)), self.critic_network(Tensor(fake))
        self.last |= {"real": real_scores.data, "fake": fake_scores.data}
        loss = self.objective.real(real_scores) + self.objective.fake(fake_scores)
        if not self.objective.penalty:
            return loss
        epsilon = random.uniform(
            (len(real), 1), seed=self.seed, stream=Stream.EPSILON, step=update, device=device_of(x)
        )
        penalty_of = self.objective.penalty_of or gradient_penalty
        penalty = penalty_of(self.critic_network, Tensor(real), Tensor(fake), Tensor(epsilon))
        penalty = penalty * self.objective.penalty
        self.last["penalty"] = penalty.data
        return loss + penalty

    def critic_part(self, x: Array, real: bool, gradients: Gradients) -> Array:
        """See Updates."""
        scores = self.critic_network(Tensor(x))
        loss = (self.objective.real if real else self.objective.fake)(scores)
        self._write(loss, self.critic_network, gradients)
        self.last["real" if real else "fake"] = scores.data
        return loss.data

    def generator(self, z: Array, gradients: Gradients) -> Array:
        """See Updates."""
        loss = self.objective.generator(self.critic_network(self.generator_network(Tensor(z))))
        self._write(loss, self.generator_network, gradients)
        return loss.data

    def both(
        self,
        x: Array,
        z: Array,
        update: int | Count,
        critic_gradients: Gradients,
        generator_gradients: Gradients,
    ) -> tuple[Array, Array]:
        """Critic and generator loss from gradients taken at the same point, on the same fakes; x (n, f) is real."""
        fake = self.generator_network(Tensor(z))
        generator_loss = self.objective.generator(self.critic_network(fake))
        together = not mixes(self.critic_network)
        both = array_module(x).concatenate([x, fake.data]) if together else x
        critic_loss = self._critic_loss(both, None if together else fake.data, update)
        self._write(generator_loss, self.generator_network, generator_gradients)
        self._write(critic_loss, self.critic_network, critic_gradients)
        return critic_loss.data, generator_loss.data

    @staticmethod
    def _write(loss: Tensor, network: Module, gradients: Gradients) -> None:
        grad(loss, network.parameters(), out=gradients, allow_unused=True)


class ChainUpdates:
    """Updates of dense networks, their gradients written out."""

    def __init__(self, generator: Chain, critic: Chain, objective: Objective) -> None:
        self.generator_chain, self.critic_chain = generator, critic
        self.penalty = objective.penalty
        self.draws_mixed = bool(self.penalty)
        self.real, self.fake, self.wanted = (
            part.kind
            for part in (objective.real, objective.fake, objective.generator)
            if isinstance(part, ScoreLoss)
        )
        self.last: dict[str, Array] = {}

    def generate(self, z: Array, *, training: bool = True) -> Array:
        """See Updates."""
        return self.generator_chain.forward(z, training=training)[0]

    def critic(self, x: Array, fake: Array | None, update: int | Count, gradients: Gradients) -> Terms:
        """See Updates; x holds all samples, as no layer mixes them."""
        assert fake is None
        kinds = (self.real, self.fake)
        if self.penalty:
            n = len(x) // 3
            loss, scores, penalty = self.critic_chain.penalised(x, kinds, self.penalty, gradients)
            self.last |= {"penalty": penalty, "real": scores[:n], "fake": scores[n:]}
            return loss, penalty
        n = len(x) // 2
        loss, scores, d, trace = self.critic_chain.head_loss(x, kinds, (n, n))
        self.critic_chain.backward(trace, d, gradients)
        self.last |= {"real": scores[:n], "fake": scores[n:]}
        return (loss,)

    def critic_part(self, x: Array, real: bool, gradients: Gradients) -> Array:
        """See Updates."""
        kind = self.real if real else self.fake
        loss, scores, d, trace = self.critic_chain.head_loss(x, (kind,), (len(x),))
        self.critic_chain.backward(trace, d, gradients)
        self.last["real" if real else "fake"] = scores
        return loss

    def generator(self, z: Array, gradients: Gradients) -> Array:
        """See Updates."""
        fake, made = self.generator_chain.forward(z)
        loss, _, d, trace = self.critic_chain.head_loss(fake, (self.wanted,), (len(fake),))
        last = self.generator_chain.layers[-1]
        v = self.critic_chain.backward(trace, d, None, below=(last.act, last.slope))
        self.generator_chain.backward(made, v, gradients)
        return loss


def updates_for(
    generator: Module, critic: Module, objective: Objective, *, seed: int, simultaneous: bool
) -> TapeUpdates | ChainUpdates:
    """Chains where both networks, the objective and the kind of step allow them, else the tape."""
    chains = Chain.of(generator), Chain.of(critic)
    named = all(isinstance(x, ScoreLoss) for x in (objective.real, objective.fake, objective.generator))
    if simultaneous or not named or objective.penalty_of or chains[0] is None or chains[1] is None:
        return TapeUpdates(generator, critic, objective, seed=seed)
    fits = chains[1].ends_in_scores and not chains[1].has_norm and chains[0].layers[-1].norm is None
    if not fits or (objective.penalty and not chains[1].leaky):
        return TapeUpdates(generator, critic, objective, seed=seed)
    return ChainUpdates(chains[0], chains[1], objective)


def mixes(network: Module) -> bool:
    """Whether a sample's output depends on the batch that it is in, or on the call."""
    return any(isinstance(m, BatchNorm | Dropout | MinibatchStdDev) for m in network.modules())
