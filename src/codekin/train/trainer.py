"""A decoder's training: pairs in, a folder with the best model, the log and a checkpoint to go on from out."""

from __future__ import annotations

import json
import math
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from codekin.data import Pair, PairFiles, Position, Sampler
from codekin.embed.devices import NumberType, fastest_type, pick_device
from codekin.embed.transformer import Tokens, split_packs
from codekin.errors import InputError, ModelError
from codekin.tasks import Role
from codekin.train.dev import DevSet
from codekin.train.encoder import Encoder
from codekin.train.frozen import FrozenStates
from codekin.train.gradcache import backward
from codekin.train.journal import Journal
from codekin.train.losses import info_nce, matryoshka
from codekin.train.processes import joined, sum_gradients, world
from codekin.train.recipe import DecoderRecipe
from codekin.train.sets import answer_labels_of, pair_files

CHECKPOINT = "checkpoint.pt"
MODEL = "model"

Progress = Callable[[int, int, str], None]
"""Called with the steps done, the steps in all, and the loss."""


@dataclass(frozen=True)
class TrainReport:
    """What a run came to: the step whose model was kept, and its nDCG@10 of each dev set; of none, the last step."""

    steps: int
    best_step: int
    figures: dict[str, float]
    loss: float
    seconds: float


def train_decoder(
    recipe: DecoderRecipe,
    *,
    output: Path,
    resume: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    progress: Progress | None = None,
) -> TrainReport:
    """Train the decoder of a recipe.

    `output` gets `model/`, the best model by the mean nDCG@10 of the dev sets, which codekin.Embedder loads;
    `log.jsonl`, and `tensorboard/` where that is installed; and `checkpoint.pt`, always whole, from which a killed
    run goes on with `resume` to the very same model (on a GPU, but for the order of its sums). Under torchrun the
    processes share each batch. `dtype` is what products are computed in; default: the one that a measurement finds
    worth it. Raises InputError for a recipe, data or an output that cannot be used, and where the loss is no number
    any more or the disk is full.
    """
    began = time.monotonic()
    with joined():
        place = pick_device(device)
        if place.type == "cuda" and place.index is None:
            place = torch.device("cuda", torch.cuda.current_device())
        number = NumberType.parse(dtype) if dtype else fastest_type(place)
        if number is NumberType.INT8:
            raise InputError("int8 is for inference; train in float32, bfloat16 or float16")
        run = _Run(recipe, output, place, number)
        run.begin(resume)
        try:
            loss = run.train(progress)
        except torch.OutOfMemoryError:
            raise InputError(
                f"step {run.step + 1}: {place} is out of memory: lower training.pack_tokens, or set "
                f"training.checkpointing = true; {run.kept()}"
            ) from None
        return TrainReport(run.step, run.best_step, run.figures, loss, time.monotonic() - began)


class _Run:
    def __init__(self, recipe: DecoderRecipe, output: Path, device: torch.device, number: NumberType) -> None:
        self._recipe, self._output, self._device = recipe, output, device
        self._rank, self._world = world()
        self.step, self.best_step = 0, 0
        self.figures: dict[str, float] = {}
        self._best = -math.inf
        self._saved: int | None = None
        torch.manual_seed(recipe.seed)
        self._encoder = Encoder(recipe, device, number)
        parameters = self._encoder.trained()
        matrices = [p for p in parameters.values() if p.ndim > 1]
        vectors = [p for p in parameters.values() if p.ndim <= 1]
        self._parameters = matrices + vectors
        training = recipe.training
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(
            groups,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=number is NumberType.FLOAT16)

    def begin(self, resume: bool) -> None:
        """Opens the folder, the data, and where there is one the checkpoint."""
        there = self._output / CHECKPOINT
        if resume and not there.is_file():
            raise InputError(f"{self._output} has no {CHECKPOINT} to resume from")
        if not resume and there.is_file():
            raise InputError(f"{self._output} holds a run: --resume goes on with it; else name a new folder")
        position = self._restore(there) if resume else Position()
        self._dev = [DevSet.read(folder) for folder in self._recipe.data.dev] if not self._rank else []
        if not self._rank:  # the others read what the first has made
            self._output.mkdir(parents=True, exist_ok=True)
            answer_labels_of(pair_files(self._recipe.data.train, self._output), self._output)
        if self._world > 1:
            distributed.barrier()
        files = pair_files(self._recipe.data.train, self._output)
        self._pairs = PairFiles(files)
        self._sampler = Sampler(
            self._pairs.sets,
            answer_labels_of(files, self._output),
            self._recipe.training.batch,
            seed=self._recipe.seed,
            temperature=self._recipe.data.balance,
            mixed=self._recipe.data.mixed,
        )
        if (frozen := self._recipe.model).frozen and frozen.frozen_gb:
            self._encoder.below = FrozenStates(
                self._output / f"frozen-{self._rank}.bin",
                self._encoder.decoder.config.hidden_size,
                int(frozen.frozen_gb * 1e9),
                self.step,
            )
        self._batches = self._sampler.batches(position)
        self._position = position
        self._journal = Journal(self._output, self.step) if not self._rank else None

    def train(self, progress: Progress | None) -> float:
        """All steps that are left; the last one's loss."""
        training = self._recipe.training
        loss = math.nan
        if self.step == 0:
            self._measure()
        while self.step < training.steps:
            began = time.monotonic()
            self._position, rows = next(self._batches)
            rate = self._rate()
            loss, tokens, norm = self._learn([self._pairs[int(row)] for row in rows], rate)
            self.step += 1
            seconds = time.monotonic() - began
            self._note(loss=loss, learning_rate=rate, norm=norm, tokens=tokens, seconds=seconds)
            if progress and not self._rank:
                progress(self.step, training.steps, f"loss {loss:.4f}{self._told()}")
            if self.step % training.evaluate_every == 0 or self.step == training.steps:
                self._measure()
                self._keep()
        return loss

    def kept(self) -> str:
        """What is left of the run that an error ends."""
        return (
            f"the checkpoint of step {self._saved} is whole" if self._saved else "there is no checkpoint yet"
        )

    def _learn(self, pairs: Sequence[Pair], rate: float) -> tuple[float, int, float | None]:
        """One step: the loss before it, the batch's tokens, the gradient's norm; None where float16 overflowed."""
        # What is drawn at random depends on nothing that was before, so that a resumed run draws the same.
        torch.manual_seed((self._recipe.seed << 32) + (self.step << 12) + self._rank)
        texts = self._texts(pairs)
        # Each distinct text once, the longest first, dealt out to the processes like cards.
        ordered = sorted(set(texts), key=lambda text: (-len(text), text))
        shares = [ordered[rank :: self._world] for rank in range(self._world)]
        places = {text: number for number, text in enumerate(text for share in shares for text in share)}
        index = torch.tensor([places[text] for text in texts], device=self._device)
        chunks = list(split_packs(shares[self._rank], self._recipe.training.pack_tokens))

        self._encoder.train()
        self._optimiser.zero_grad()
        scale = float(self._scaler.scale(torch.ones((), device=self._device)))
        value = backward(self._encoder, chunks, lambda rows: self._loss(rows[index], len(pairs)), scale)
        loss = float(value)
        sum_gradients(self._parameters)
        self._scaler.unscale_(self._optimiser)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._recipe.training.clip))
        overflow = self._scaler.is_enabled() and math.isfinite(loss)  # the scaler leaves that step out
        if not math.isfinite(loss) or not (math.isfinite(norm) or overflow):
            what = "loss" if not math.isfinite(loss) else "gradient"
            raise InputError(
                f"step {self.step + 1}: the {what} is {loss if what == 'loss' else norm}: lower "
                f"training.learning_rate or raise training.warm_up and start anew; {self.kept()}"
            )
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return loss, sum(map(len, ordered)), norm if math.isfinite(norm) else None

    def _texts(self, pairs: Sequence[Pair]) -> list[Tokens]:
        """The tokens of all queries, then of their documents, then of the hard negatives."""
        count = self._recipe.data.negatives
        asked = [(pair.task, Role.QUERY, pair.query) for pair in pairs]
        asked += [(pair.task, Role.DOCUMENT, pair.document) for pair in pairs]
        asked += [(pair.task, Role.DOCUMENT, text) for pair in pairs for text in pair.negatives[:count]]
        tokens: dict[tuple[Any, ...], Tokens] = {}
        for task, role in dict.fromkeys((task, role) for task, role, _ in asked):
            raw = [text for of, side, text in asked if (of, side) == (task, role)]
            encoded = self._encoder.tokenise(raw, task, role)
            tokens |= {(task, role, text): ids for text, ids in zip(raw, encoded, strict=True)}
        return [tokens[key] for key in asked]

    def _loss(self, vectors: Tensor, pairs: int) -> Tensor:
        training, model = self._recipe.training, self._recipe.model

        def contrast(queries: Tensor, documents: Tensor) -> Tensor:
            return info_nce(queries, documents, training.temperature, symmetric=training.symmetric)

        return matryoshka(contrast, model.sizes, vectors[:pairs], vectors[pairs:], weights=model.weights)

    def _rate(self) -> float:
        """The learning rate of the step after `step` steps."""
        training = self._recipe.training
        if self.step < training.warm_up:
            return training.learning_rate * (self.step + 1) / training.warm_up
        share = (self.step - training.warm_up) / max(1, training.steps - training.warm_up)
        return training.learning_rate * (1 + math.cos(math.pi * min(1.0, share))) / 2

    def _measure(self) -> None:
        """The dev sets' figures; a model better than all before is written."""
        if not self._rank:
            self._encoder.eval()
            model = self._encoder.inference()
            with self._encoder.autocast():
                figures = {dev.name: dev.ndcg(model) for dev in self._dev}
            mean = sum(figures.values()) / len(figures) if figures else float(self.step)
            if figures:
                self._note(dev=figures, mean=mean)
            if mean > self._best:
                self._best, self.best_step, self.figures = mean, self.step, figures
                if figures or self.step:
                    self._save()

    def _save(self) -> None:
        try:
            self._encoder.save(self._output / MODEL)
        except ModelError as error:
            raise InputError(f"step {self.step}: {error}; {self.kept()}") from None

    def _keep(self) -> None:
        """Writes the checkpoint; the one before stands until the new one is whole."""
        if self._encoder.below:
            self._encoder.below.mark(self.step)
        if self._rank:
            return
        state = {
            "recipe": _described(self._recipe),
            "step": self.step,
            "position": (self._position.epoch, self._position.batch),
            "best": (self._best, self.best_step, self.figures),
            "parameters": dict(self._encoder.trained()),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        place = self._output / CHECKPOINT
        partial = place.with_suffix(".partial")
        try:
            with open(partial, "wb") as stream:
                torch.save(state, stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(place)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError for what the disk does not take
            partial.unlink(missing_ok=True)
            raise InputError(f"step {self.step}: {place} cannot be written: {error}; {self.kept()}") from None
        self._saved = self.step

    def _restore(self, place: Path) -> Position:
        try:
            state = torch.load(place, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"{place}: not a checkpoint: {reason}") from None
        if (recipe := _described(self._recipe)) != state["recipe"]:
            changed = _difference(json.loads(state["recipe"]), json.loads(recipe))
            raise InputError(f"{place} is of a run with another {changed}: a resumed run keeps its recipe")
        with torch.no_grad():
            for name, parameter in self._encoder.trained().items():
                parameter.copy_(state["parameters"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        self.step = self._saved = state["step"]
        self._best, self.best_step, self.figures = state["best"]
        return Position(*state["position"])

    def _told(self) -> str:
        return f", best nDCG@10 {self._best:.4f}" if self.figures else ""

    def _note(self, **figures: Any) -> None:
        if self._journal:
            self._journal.note(self.step, figures)


def _described(recipe: DecoderRecipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)


def _difference(one: dict[str, Any], other: dict[str, Any], within: str = "") -> str:
    """The first key that two recipes say otherwise."""
    key = next(key for key in one if one[key] != other[key])
    if isinstance(one[key], dict) and isinstance(other[key], dict):
        return _difference(one[key], other[key], f"{within}{key}.")
    return f"{within}{key} ({one[key]!r}, now {other[key]!r})"
