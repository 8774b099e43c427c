"""One step of gradient descent, as PyTorch's optimizers take it, on one party's own weights.

Every operation works element by element in a fixed order, so that a party's share of a model trained apart equals the
same columns of a model trained together: none of the methods mixes coordinates.

==========  ========================================================================================
sgd         v = momentum v + (1 - dampening) g;  w -= lr v   (nesterov: w -= lr (g + momentum v))
asgd        w *= 1 - lambd eta;  w -= eta g;  eta = lr / (1 + lambd lr t)^0.75   (Polyak, Juditsky 1992)
adagrad     s += g^2;  w -= lr / (1 + lr_decay t) g / (sqrt(s) + eps)   (Duchi, Hazan, Singer 2011)
adadelta    Zeiler 2012, algorithm 1, times lr
rmsprop     s = alpha s + (1 - alpha) g^2;  v = momentum v + g / (sqrt(s) + eps);  w -= lr v   (Hinton 2012)
adam        Kingma and Ba 2015, algorithm 1, with bias corrections
adamw       the same, with ``weight_decay`` taken off the weights, not put into g (Loshchilov, Hutter 2019)
adamax      Kingma and Ba 2015, algorithm 2
nadam       Dozat 2016, with the schedule of momenta mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)
radam       Liu et al. 2020, algorithm 2
rprop       Riedmiller and Braun 1993: steps that grow and shrink with the sign of g alone
==========  ========================================================================================

The penalty alpha w (l2) and ``weight_decay`` w are added to the gradient first, except at the intercept; the penalty
l1 draws each weight towards zero by lr alpha after the step, and stops there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from partyd.algorithms.parameters import Settings, lower

Vector = NDArray[np.float64]
Moments = tuple[Vector, Vector]
EPS = {"adagrad": 1e-10, "adadelta": 1e-6}
"""PyTorch's ``eps`` where it is not 1e-8."""
Word = BeforeValidator(lower)


class StepSettings(Settings):
    """PyTorch's names; each method reads its own."""

    lr: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    dampening: float = Field(default=0.0, ge=0, le=1)
    nesterov: bool = False
    alpha: float = Field(default=0.99, ge=0, lt=1)
    rho: float = Field(default=0.9, ge=0, lt=1)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: float | None = Field(default=None, gt=0)
    lr_decay: float = Field(default=0.0, ge=0)
    momentum_decay: float = Field(default=4e-3, ge=0)
    lambd: float = Field(default=1e-4, ge=0)
    etas: tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=1)]] = (0.5, 1.2)
    step_sizes: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1e-6, 50.0)


def _penalty(value: object) -> object:
    return "none" if value is None else lower(value)


class Optimizer(Settings):
    """FATE 2.2's ``optimizer``."""

    method: Annotated[
        Literal["sgd", "asgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax", "nadam", "radam", "rprop"],
        Word,
    ] = "sgd"
    penalty: Annotated[Literal["l1", "l2", "none"], BeforeValidator(_penalty)] = "l2"
    alpha: float = Field(default=1.0, ge=0)
    optimizer_params: StepSettings = StepSettings()

    @property
    def eps(self) -> float:
        """What keeps a division from being by zero."""
        given = self.optimizer_params.eps
        return EPS.get(self.method, 1e-8) if given is None else given


class ScheduleSettings(Settings):
    """PyTorch's names; each method reads its own."""

    start_factor: float = Field(default=1.0, gt=0, le=1)
    end_factor: float = Field(default=1.0, ge=0, le=1)
    factor: float = Field(default=1.0, gt=0, le=1)
    total_iters: int = Field(default=5, ge=1)
    step_size: int = Field(default=10, ge=1)
    gamma: float = Field(default=0.1, gt=0)


class Schedule(Settings):
    """FATE 2.2's ``learning_rate_scheduler``; all factors default to 1: without settings nothing changes."""

    method: Annotated[Literal["linear", "constant", "step"], Word] = "linear"
    scheduler_params: ScheduleSettings = ScheduleSettings()

    def factor(self, epoch: int) -> float:
        """Return what the learning rate is multiplied by in ``epoch``, counted from 0."""
        p = self.scheduler_params
        if self.method == "linear":
            return p.start_factor + (p.end_factor - p.start_factor) * min(epoch, p.total_iters) / p.total_iters
        if self.method == "constant":
            return p.factor if epoch < p.total_iters else 1.0
        return float(p.gamma ** (epoch // p.step_size))


def step(
    optimizer: Optimizer,
    factor: float,
    weights: Vector,
    gradient: Vector,
    moments: Moments,
    taken: int,
    penalised: Vector,
) -> tuple[Vector, Moments]:
    """Return weights and moments after one step; ``penalised`` is 0 at the intercept and 1 elsewhere.

    ``factor`` scales the learning rate, ``taken`` counts the steps before this one, ``moments`` start as zeros.
    """
    p = optimizer.optimizer_params
    lr, apart = p.lr * factor, optimizer.method == "adamw"
    shrink = (optimizer.alpha if optimizer.penalty == "l2" else 0.0) + (0.0 if apart else p.weight_decay)
    g = gradient + shrink * penalised * weights
    if apart:
        weights = weights * (1 - lr * p.weight_decay * penalised)
    moved, moments = STEPS[optimizer.method](optimizer, lr, weights, g, moments, taken)
    if optimizer.penalty == "l1":
        moved = np.sign(moved) * np.maximum(np.abs(moved) - lr * optimizer.alpha * penalised, 0.0)
    return moved, moments


Step = Callable[[Optimizer, float, Vector, Vector, Moments, int], tuple[Vector, Moments]]


def _sgd(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    p = o.optimizer_params
    v = p.momentum * moments[0] + (1.0 if not taken else 1 - p.dampening) * g
    return w - lr * (g + p.momentum * v if p.nesterov else v), (v, moments[1])


def _asgd(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    lambd = o.optimizer_params.lambd
    eta = lr / (1 + lambd * lr * taken) ** 0.75
    return w * (1 - lambd * eta) - eta * g, moments


def _adagrad(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    s, lr = moments[1] + g * g, lr / (1 + o.optimizer_params.lr_decay * taken)
    return w - lr * g / (np.sqrt(s) + o.eps), (moments[0], s)


def _adadelta(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, _taken: int) -> tuple[Vector, Moments]:
    rho, (travelled, s) = o.optimizer_params.rho, moments
    s = rho * s + (1 - rho) * g * g
    delta = np.sqrt(travelled + o.eps) / np.sqrt(s + o.eps) * g
    return w - lr * delta, (rho * travelled + (1 - rho) * delta * delta, s)


def _rmsprop(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, _taken: int) -> tuple[Vector, Moments]:
    alpha, momentum = o.optimizer_params.alpha, o.optimizer_params.momentum
    s = alpha * moments[1] + (1 - alpha) * g * g
    if not momentum:
        return w - lr * g / (np.sqrt(s) + o.eps), (moments[0], s)
    v = momentum * moments[0] + g / (np.sqrt(s) + o.eps)
    return w - lr * v, (v, s)


def _averaged(o: Optimizer, g: Vector, moments: Moments) -> Moments:
    """Return the moving averages of the gradient and of its square."""
    (beta1, beta2), (m, v) = o.optimizer_params.betas, moments
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g


def _adam(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    (beta1, beta2), (m, v), t = o.optimizer_params.betas, _averaged(o, g, moments), taken + 1
    return w - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + o.eps), (m, v)


def _adamax(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    (beta1, beta2), (m, u) = o.optimizer_params.betas, moments
    m, u = beta1 * m + (1 - beta1) * g, np.maximum(beta2 * u, np.abs(g) + o.eps)
    return w - lr / (1 - beta1 ** (taken + 1)) * m / u, (m, u)


def _nadam(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    p, (m, v), t = o.optimizer_params, _averaged(o, g, moments), taken + 1
    momenta = p.betas[0] * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * p.momentum_decay))
    so_far, now, then = math.prod(momenta[:t].tolist()), float(momenta[t - 1]), float(momenta[t])
    denominator = np.sqrt(v / (1 - p.betas[1] ** t)) + o.eps
    ahead = lr * (1 - now) / (1 - so_far) * g + lr * then / (1 - so_far * then) * m
    return w - ahead / denominator, (m, v)


def _radam(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    (beta1, beta2), (m, v), t = o.optimizer_params.betas, _averaged(o, g, moments), taken + 1
    unbiased, limit = m / (1 - beta1**t), 2 / (1 - beta2) - 1
    length = limit - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 5:
        return w - lr * unbiased, (m, v)
    rectified = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    return w - lr * unbiased * math.sqrt(rectified * (1 - beta2**t)) / (np.sqrt(v) + o.eps), (m, v)


def _rprop(o: Optimizer, lr: float, w: Vector, g: Vector, moments: Moments, taken: int) -> tuple[Vector, Moments]:
    p, (before, size) = o.optimizer_params, moments
    size, turn = (np.full_like(g, lr) if not taken else size), np.sign(g * before)
    size = np.clip(size * np.where(turn > 0, p.etas[1], np.where(turn < 0, p.etas[0], 1.0)), *p.step_sizes)
    g = np.where(turn < 0, 0.0, g)
    return w - np.sign(g) * size, (g, size)


STEPS: Mapping[str, Step] = {
    "sgd": _sgd,
    "asgd": _asgd,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adam,
    "adamax": _adamax,
    "nadam": _nadam,
    "radam": _radam,
    "rprop": _rprop,
}
