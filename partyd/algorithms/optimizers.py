"""One step of gradient descent, as PyTorch's optimizers take it, on one party's own weights.

Every operation works element by element in a fixed order, so that a party's share of a model trained apart equals the
same columns of a model trained together: none of the methods mixes coordinates.

==========  ========================================================================================
sgd         v = momentum v + g;  w -= lr v   (nesterov: w -= lr (g + momentum v))
adagrad     s += g^2;  w -= lr g / (sqrt(s) + eps)   (Duchi, Hazan, Singer 2011)
rmsprop     s = alpha s + (1 - alpha) g^2;  w -= lr g / (sqrt(s) + eps)   (Hinton 2012)
adam        Kingma and Ba 2015, algorithm 1, with bias corrections
==========  ========================================================================================

The penalty alpha w (L2) and ``weight_decay`` w are added to the gradient first, except at the intercept.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Vector = NDArray[np.float64]


class Settings(BaseModel):
    """Base of the models below: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepSettings(Settings):
    """PyTorch's names; each method reads its own."""

    lr: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    alpha: float = Field(default=0.99, ge=0, lt=1)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else ("none" if value is None else value)


class Optimizer(Settings):
    """FATE 2.2's ``optimizer``."""

    method: Literal["sgd", "adagrad", "rmsprop", "adam"] = "sgd"
    penalty: Annotated[Literal["l2", "none"], BeforeValidator(_lower)] = "l2"
    alpha: float = Field(default=1.0, ge=0)
    optimizer_params: StepSettings = StepSettings()


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

    method: Literal["linear", "constant", "step"] = "linear"
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
    moments: tuple[Vector, Vector],
    taken: int,
    penalised: Vector,
) -> tuple[Vector, tuple[Vector, Vector]]:
    """Return weights and moments after one step; ``penalised`` is 0 at the intercept and 1 elsewhere.

    ``factor`` scales the learning rate, ``taken`` counts the steps before this one, ``moments`` start as zeros.
    """
    p, (first, second) = optimizer.optimizer_params, moments
    lr = p.lr * factor
    shrink = (optimizer.alpha if optimizer.penalty == "l2" else 0.0) + p.weight_decay
    g = gradient + shrink * penalised * weights
    if optimizer.method == "sgd":
        first = p.momentum * first + g
        return weights - lr * (g + p.momentum * first if p.nesterov else first), (first, second)
    if optimizer.method == "adam":
        first = p.betas[0] * first + (1 - p.betas[0]) * g
        second = p.betas[1] * second + (1 - p.betas[1]) * g * g
        unbiased = second / (1 - p.betas[1] ** (taken + 1))
        return weights - lr * first / (1 - p.betas[0] ** (taken + 1)) / (np.sqrt(unbiased) + p.eps), (first, second)
    second = second + g * g if optimizer.method == "adagrad" else p.alpha * second + (1 - p.alpha) * g * g
    return weights - lr * g / (np.sqrt(second) + p.eps), (first, second)
