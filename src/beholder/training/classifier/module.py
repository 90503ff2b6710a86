"""A network while it learns: what Keras' ``fit`` calls for every batch."""

from __future__ import annotations

import zlib
from typing import Any

import keras
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.errors import BeholderError
from beholder.observers.base import ObserverInfo
from beholder.training.classifier.network import logits
from beholder.training.classifier.settings import ClassifierSettings, LearningRate
from beholder.training.distributed import Processes

PATIENCE = 50
"""After so many steps in a row without finite gradients there is no hope."""


class Parts:
    """Variables of a network by what happens to them in training."""

    # Not attributes of the model itself: Keras would take them for more weights.
    def __init__(self, network: Any) -> None:
        self.learning: list[Any] = network.trainable_variables
        active = [layer for layer in network.layers if layer.trainable]
        self.moving = [v for layer in active for v in layer.non_trainable_weights]
        """Moving averages of batch normalisation."""
        self.kernels = [
            weight
            for layer in active
            for weight in layer.trainable_weights
            if weight.name in ("kernel", "pointwise_kernel") and not isinstance(layer, keras.layers.DepthwiseConv2D)
        ]
        self.generators = [
            value
            for layer in network.layers
            for value in vars(layer).values()
            if isinstance(value, keras.random.SeedGenerator)
        ]


class ClassifierModule(keras.Model):  # type: ignore[misc]
    """Wraps a classifier of :mod:`beholder.observers.keras.zoo`.

    Batches are uint8 (N, S, S, 3) in RGB and labels int64 (N,); a label below 0 is not counted in validation.
    A step whose gradients are not finite changes nothing but ``skipped``.

    ``weight_decay`` w adds w/2 times the sum of squares of all kernels that learn to the loss, but for depthwise ones
    (as TF-Slim does it); the loss that is reported is without it.
    """

    def __init__(self, network: Any, info: ObserverInfo, settings: ClassifierSettings, processes: Processes) -> None:
        super().__init__(name="module")
        self.network = network
        self.to_logits = keras.Model(network.inputs, logits(network), name="logits")
        self.processes = processes
        self.smoothing = settings.label_smoothing
        self.weight_decay = settings.weight_decay
        self.top5 = network.output_shape[-1] > 5
        self.skipped = self.skipped_in_a_row = 0
        self._flip = info.channel_order == "BGR"
        self._mean, self._std = (np.array(values, np.float32) for values in (info.mean, info.std))
        self.loss_mean = keras.metrics.Mean("loss", dtype="float32")
        self.accuracy_mean = keras.metrics.Mean("accuracy", dtype="float32")
        self.top5_mean = keras.metrics.Mean("top5", dtype="float32")
        self.parts = Parts(network)
        self.built = True

    @property
    def metrics(self) -> list[Any]:
        """Means over an epoch."""
        return [self.loss_mean, self.accuracy_mean] + ([self.top5_mean] if self.top5 else [])

    def metric_variables(self) -> list[Any]:
        """The sums behind :attr:`metrics`."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def call(self, pixels: Tensor, training: bool = False) -> Tensor:
        """Logits, float32 (N, classes), of a batch."""
        x = pixels.to(self.torch_device, non_blocking=True).float()
        if self._flip:
            x = x.flip(-1)
        mean, std = (torch.from_numpy(values).to(x.device) for values in (self._mean, self._std))
        output: Tensor = self.to_logits((x - mean) / std, training=training)
        return output.float()

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of the optimiser."""
        pixels, labels = data[0], data[1].to(self.torch_device)
        moving = [variable.value for variable in self.parts.moving]
        before = [value.detach().clone() for value in moving]
        output = self(pixels, training=True)
        loss = F.cross_entropy(output, labels, label_smoothing=self.smoothing)
        self.zero_grad()
        self.optimizer.scale_loss(loss + self._penalty()).backward()
        variables = self.parts.learning
        gradients = [torch.zeros_like(v.value) if v.value.grad is None else v.value.grad for v in variables]
        with torch.no_grad():
            self.processes.average([*gradients, *moving])
            norms = torch.stack(torch._foreach_norm(gradients))
            finite = bool(torch.isfinite(norms).all())
            # A scaling optimiser must see the gradients: it skips the step itself, and lowers its scale.
            if finite or isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
                self.optimizer.apply(gradients, variables)
            if finite:
                self.skipped_in_a_row = 0
                self._count(output, labels, loss)
            else:
                torch._foreach_copy_(moving, before)
                self._skip()
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data: Any) -> dict[str, Any]:
        """Measure one batch."""
        pixels, labels = data[0], data[1].to(self.torch_device)
        counted = labels >= 0
        if counted.any():
            output, labels = self(pixels, training=False)[counted], labels[counted]
            loss = F.cross_entropy(output, labels, label_smoothing=self.smoothing, reduction="none")
            self._count(output, labels, loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def get_metrics_result(self) -> dict[str, Any]:
        """Means over the pictures of all processes; each process must call it."""
        # A second call would multiply sums and counts by the same number, which changes no mean.
        self.processes.add([variable.value for variable in self.metric_variables()])
        return {metric.name: metric.result() for metric in self.metrics}

    def seed(self, seed: int, epoch: int, step: int) -> None:
        """Make dropout a function of these three alone (and of the process)."""

        def number(what: int) -> int:
            return zlib.crc32(f"{seed},{epoch},{step},{self.processes.rank},{what}".encode()) >> 1

        # On torch, a Keras layer without a seed of its own draws from torch's global generator.
        torch.manual_seed(number(0))
        for place, generator in enumerate(self.parts.generators, 1):
            generator.state.assign([number(place), 0])

    @property
    def torch_device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.network.weights[0].value.device
        return device

    def _count(self, output: Tensor, labels: Tensor, loss: Tensor) -> None:
        self.loss_mean.update_state(loss.detach().expand(len(labels)))
        ranks = (output.detach() > output.detach().gather(1, labels[:, None])).sum(1)
        self.accuracy_mean.update_state((ranks < 1).float())
        if self.top5:
            self.top5_mean.update_state((ranks < 5).float())

    def _penalty(self) -> Tensor | float:
        if not self.weight_decay:
            return 0.0
        squares = [kernel.value.square().sum() for kernel in self.parts.kernels]
        return self.weight_decay / 2 * sum(squares, torch.tensor(0.0))

    def _skip(self) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= PATIENCE:
            raise BeholderError(
                f"The last {PATIENCE} steps gave no finite gradients: lower learning_rate.initial, or use precision "
                "float32, in a new job."
            )


def optimizer(settings: ClassifierSettings, steps: int) -> Any:
    """The optimiser of a config with its schedule; ``steps`` make an epoch."""
    chosen = settings.optimizer
    options: dict[str, Any] = {"global_clipnorm": chosen.clip or None}
    if chosen.epsilon is not None and chosen.name != "sgd":
        options["epsilon"] = chosen.epsilon
    if chosen.momentum is not None:
        options["beta_1" if chosen.name == "adam" else "momentum"] = chosen.momentum
    kinds = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}
    return kinds[chosen.name](_schedule(settings.learning_rate, steps, settings.epochs), **options)


def _schedule(rate: LearningRate, steps: int, epochs: int) -> Any:
    initial = float(rate.initial)
    if rate.schedule == "exponential":
        decay = max(1, round(steps * rate.epochs_per_decay))
        return keras.optimizers.schedules.ExponentialDecay(initial, decay, rate.factor, staircase=True)
    if rate.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(initial, steps * epochs)
    return initial
