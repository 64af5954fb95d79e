"""The training loop: batches in, averaged weights out, and a run that can be stopped and resumed at any checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeseg.models.base import Network, SemanticNetwork
from edgeseg.models.blocks import freeze_norms, hold_norms
from edgeseg.train.average import WeightAverage
from edgeseg.train.checkpoint import read_checkpoint, save_checkpoint
from edgeseg.train.fake_quant import check_rounds, choose_scales, simulate_int8
from edgeseg.train.half import half_type, make_scaler
from edgeseg.train.memory import keep_freed_memory
from edgeseg.train.optimizer import make_optimizer, rate_factor, set_rate
from edgeseg.train.parallel import join_group
from edgeseg.train.pictures import draw_curves
from edgeseg.train.recipe import Recipe
from edgeseg.train.rounding import Rounding
from edgeseg.train.start import pictures, start
from edgeseg.train.task import make_task

CHECKPOINT = "last.pt"
BEST = "best.pt"


class Run:
    """One training run in a folder: `last.pt`, `best.pt` (by validation), `log.jsonl`, `samples.jpg`, `curves.png`.

    TensorBoard's events lie beside them.

    Args:
        recipe: what to do.
        data: folder that the recipe's paths are relative to.
        out: the run's folder; a checkpoint in it is resumed.
        initial: the network to start from instead of `encoder_weights`, as `init` of the recipe asks for.
        teachers: the networks whose probabilities are learned too, as `teachers` of the recipe asks for.
        rounding: where to round from the first step on, instead of what `int8_from` would choose; such a run cannot be
            resumed.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        out: Path,
        initial: Network | None = None,
        teachers: Sequence[SemanticNetwork] = (),
        rounding: Rounding | None = None,
    ) -> None:
        self.recipe, self.data, self.out = recipe, data, out
        self.group = join_group()
        torch.manual_seed(recipe.seed)
        self.task = make_task(recipe, data, teachers)
        self.network = self.task.network
        self.step = 0
        self.best: float | None = None
        out.mkdir(parents=True, exist_ok=True)
        saved = out / CHECKPOINT
        body = read_checkpoint(saved) if saved.exists() else None
        if body is None:
            start(self.network, recipe, data, self.task.maker, initial)
            self.network.load_state_dict(self.group.of_first(self.network.state_dict()))
        # Depthwise convolutions run several times faster on the CPU with channels last.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(self.network, recipe.ema)
        self.optimizer = make_optimizer(self.network, recipe.optimizer)
        device = next(self.network.parameters()).device
        self.half = half_type(recipe.amp, device)
        self.scaler = make_scaler(self.half, device)
        if body is not None:
            self._resume(body)
        if recipe.freeze_norms:
            freeze_norms(self.network)
        self.int8_scales: dict[str, float] | None = None
        if recipe.int8_from < 1.0:
            check_rounds(self.network)
        if body is not None and body.get("int8_scales"):
            self._simulate_int8(body["int8_scales"])
        if rounding is not None:
            self._in_float(dict(rounding.outputs))
            for network in (self.network, self.average.network):
                rounding.apply(network)

    def _resume(self, body: dict[str, Any]) -> None:
        self.network.load_state_dict(body["network"])
        self.average.network.load_state_dict(body["ema"])
        self.average.updates = body["ema_updates"]
        self.optimizer.load_state_dict(body["optimizer"])
        if self.scaler.is_enabled() and body.get("scaler"):
            self.scaler.load_state_dict(body["scaler"])
        self.step, self.best = body["step"], body.get("best")

    def _simulate_int8(self, scales: dict[str, float]) -> None:
        self._in_float(scales)
        for network in (self.network, self.average.network):
            simulate_int8(network, scales)

    def _in_float(self, scales: dict[str, float]) -> None:
        # int8's levels need more than the eight bits of a bfloat16's mantissa.
        self.int8_scales, self.half = scales, None
        self.scaler = make_scaler(None, next(self.network.parameters()).device)

    def _begin_int8(self) -> None:
        """From the averaged weights and norms on: their ranges are steadier than those of the last step."""
        averaged = self.group.of_first(self.average.network.state_dict())
        for network in (self.network, self.average.network):
            network.load_state_dict(averaged)
        images = pictures(self.network, self.recipe, self.task.maker)
        self._simulate_int8(self.group.of_first(choose_scales(self.network, images)))
        # What was best in float says nothing about int8.
        self.best = None

    def fit(self, stop_at: int | None = None) -> None:
        """Train from the present step to the recipe's last, or to `stop_at`, and leave a checkpoint there."""
        # Both are wanted at the first validation; better missed now.
        import matplotlib.figure  # noqa: F401
        from torch.utils.tensorboard import SummaryWriter
        from tqdm import tqdm

        keep_freed_memory()
        last = min(stop_at or self.recipe.steps, self.recipe.steps)
        for pool in self.task.pools:
            pool.load()
        batches = self.task.batches(self.step, self.group)
        with (
            SummaryWriter(str(self.out), purge_step=self.step) if self.group.first else nullcontext() as board,
            tqdm(total=last, initial=self.step, unit="step", disable=not self.group.first) as bar,
        ):
            started, samples = time.monotonic(), 0
            while self.step < last:
                batch = next(batches)
                loss = self._step(batch)
                samples += len(batch[0]) * self.group.size
                bar.update()
                if self.step % 25 == 0 or self.step == last:
                    rate = samples / (time.monotonic() - started)
                    bar.set_postfix(loss=f"{loss:.4f}", images_s=f"{rate:.1f}")
                    self._log(
                        board,
                        {
                            "loss": round(loss, 5),
                            "lr": self._rate() * self.recipe.optimizer.lr,
                            "images_per_s": round(rate, 2),
                        },
                    )
                if not self.group.first:
                    continue
                if self.step % self.recipe.val_every == 0 or self.step == last:
                    self._validated(board)
                if self.step % self.recipe.checkpoint_every == 0 or self.step == last:
                    self.save()

    def _rate(self) -> float:
        return rate_factor(self.step, self.recipe.steps, self.recipe.optimizer)

    def _step(self, batch: Any) -> float:
        if self.int8_scales is None and self.step >= self.recipe.int8_from * self.recipe.steps:
            self._begin_int8()
        set_rate(self.optimizer, self._rate())
        self.network.train()
        if self.recipe.freeze_norms:
            hold_norms(self.network)
        # Dropout and the choice of regions draw from torch's generator: by step, so that a resumed run draws the same.
        torch.manual_seed((self.recipe.seed << 32) + self.step * self.group.size + self.group.rank)
        loss = self.task.loss(batch, self.half)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        # Before the scale is taken back, so that all processes see the same overflow.
        self.group.average_gradients(self.network.parameters())
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self.average.update(self.network)
        return self.group.mean(loss)

    def validate(self) -> dict[str, float]:
        """Figures of the averaged weights on each validation set."""
        return dict(self.task.validate(self.average.network))

    def _validated(self, board: Any) -> None:
        values = self.validate()
        self._log(board, values)
        self._draw()
        known = [value for value in values.values() if not math.isnan(value)]
        score = sum(known) / len(known) if known else None
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            self.save(BEST)

    def _draw(self) -> None:
        """`samples.jpg` and `curves.png`: a run that goes wrong is seen sooner than it is computed."""
        if self.task.val:
            self.task.draw(self.average.network, self.out / "samples.jpg")
        draw_curves(self.out / "log.jsonl", self.out / "curves.png")

    def save(self, name: str = CHECKPOINT) -> None:
        """Write a checkpoint into the run's folder."""
        state = (self.network, self.average, self.optimizer, self.scaler)
        save_checkpoint(self.out / name, self.recipe, self.step, *state, self.best, self.int8_scales)

    def _log(self, board: Any, values: dict[str, float]) -> None:
        if not self.group.first:
            return
        for name, value in values.items():
            board.add_scalar(name, value, self.step)
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.step} | values) + "\n")
