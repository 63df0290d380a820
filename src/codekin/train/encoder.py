"""A decoder that learns to embed: what of it is trained, its vectors with a graph, and the folder it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codekin.embed.checkpoints import Checkpoint
from codekin.embed.config import DecoderConfig, Pooling
from codekin.embed.devices import NumberType, torch_type
from codekin.embed.pooling import pooling_module
from codekin.embed.qwen2 import Decoder, Pack
from codekin.embed.registry import find_model
from codekin.embed.saving import save_folder
from codekin.embed.transformer import Tokens, TransformerModel, empty_modules, stored_tensors
from codekin.errors import InputError
from codekin.tasks import Role, Task, instruction
from codekin.train.frozen import FrozenStates
from codekin.train.lora import LoraLinear, adapt
from codekin.train.recipe import DecoderRecipe

_LATENTS = "pooling.latents"


class Encoder(nn.Module):
    """The decoder and pooling of a recipe on a device, computing in a type of number.

    What is trained is float32, what is frozen of the type computed in. Raises ModelError where the recipe's base is
    no decoder that can be read, InputError where its numbers do not go with the base.
    """

    def __init__(self, recipe: DecoderRecipe, device: torch.device, number: NumberType) -> None:
        super().__init__()
        self._recipe, self._device, self._number = recipe, device, number
        self.below: FrozenStates | None = None
        """Where what the frozen layers make of texts is kept, if it is."""
        self._kind = Pooling.parse(recipe.model.pooling)
        found = find_model(recipe.model.base)
        if not (isinstance(found, Checkpoint) and isinstance(found.config, DecoderConfig)):
            raise InputError(f"{recipe.model.base} is no decoder; a recipe of kind decoder needs one")
        self._base = found
        _check(recipe, found)
        self.decoder, self.pooling = _load(found, self._kind)
        # The last layer may compute the last tokens alone, so that its output is not kept.
        self._depth = min(recipe.model.frozen, len(self.decoder.layers) - 1)
        self.to(device)
        frozen: list[nn.Module] = list(self.decoder.layers[: recipe.model.frozen])
        if recipe.model.frozen:
            frozen.append(self.decoder.embed_tokens)
        if recipe.lora:
            frozen = [self.decoder]
        for part in frozen:
            part.requires_grad_(False)
            for module in part.modules():
                if isinstance(module, nn.Linear | nn.Embedding):  # hidden states, and so norms, stay float32
                    module.to(torch_type(number))
        if recipe.lora:
            for layer in self.decoder.layers[recipe.model.frozen :]:
                adapt(layer, recipe.lora)
        if recipe.training.checkpointing:
            for layer in self.decoder.layers[recipe.model.frozen :]:
                # An attribute, not a module around it: the names of the parameters stay.
                layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def tokenise(self, texts: Sequence[str], task: Task, role: Role) -> list[Tokens]:
        """Each text's tokens behind its instruction, cut at the recipe's length."""
        return [tokens for tokens, _ in self.inference().tokenise(texts, instruction(task, role))]

    def forward(self, texts: Sequence[Tokens]) -> Tensor:
        """(n, hidden) float32, not of unit length."""
        pack = Pack(texts, device=self._device)
        with self.autocast():
            if self.below:
                pack.below = self._depth, self.below.states(texts, self._lower).to(self._device)
            pooled: Tensor = self.pooling(self.decoder, pack, None)
        return pooled.float()

    @torch.no_grad()
    def _lower(self, texts: Sequence[Tokens]) -> Tensor:
        return self.decoder.lower(Pack(texts, device=self._device), self._depth)

    def autocast(self) -> torch.autocast:
        """Products in the type of number computed in."""
        dtype = torch_type(self._number)
        return torch.autocast(self._device.type, dtype, enabled=dtype is not torch.float32)

    def inference(self) -> TransformerModel:
        """The same parameters as a model that encodes texts; made anew after a step, for it keeps prefixes."""
        longest = self._recipe.training.max_length
        return TransformerModel(self._base.tokenizer, self.decoder, self.pooling, self._device, longest)

    def save(self, folder: Path) -> None:
        """Write the model as it is to `folder`, which codekin.Embedder loads; tensors in float32."""
        save_folder(
            folder,
            self._base.config,
            self._base.tokenizer,
            self._state(),
            pooling=self._kind,
            prompts={f"{task.value}_{role.value}": instruction(task, role) for task in Task for role in Role},
            sizes=sorted({*self._recipe.model.sizes, self._base.config.hidden_size}),
            max_length=self._base.max_length,
            licence=self._recipe.licence,
        )

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if isinstance(module, LoraLinear) and name.startswith("lora_"):
                    continue
                merged = isinstance(module, LoraLinear) and name == "weight"
                tensor = module.merged() if merged else parameter.detach().float()
                yield f"{path}.{name}".removeprefix("decoder."), tensor.cpu().contiguous()


def _load(base: Checkpoint, pooling: Pooling) -> tuple[Decoder, nn.Module]:
    """The base's decoder and pooling, float32 on the CPU; latent attention that the base has none of begins anew."""
    decoder, _ = empty_modules(base.config, Pooling.LAST)
    assert isinstance(decoder, Decoder)
    there = pooling if _LATENTS in base else Pooling.LAST
    state = {name: tensor.float() for name, tensor in stored_tensors(base, there)}
    own = {name: state.pop(name) for name in list(state) if name.startswith("pooling.")}
    decoder.load_state_dict(state, assign=True)
    pool = pooling_module(pooling, base.config.hidden_size)
    if own:
        pool.load_state_dict({name.removeprefix("pooling."): tensor for name, tensor in own.items()})
    return decoder.requires_grad_(True), pool


def _check(recipe: DecoderRecipe, base: Checkpoint) -> None:
    model, config = recipe.model, base.config
    if not model.sizes or not all(1 <= size <= config.hidden_size for size in model.sizes):
        raise InputError(
            f"model.sizes {list(model.sizes)}: {model.base} has vectors of {config.hidden_size} numbers"
        )
    if model.weights and len(model.weights) != len(model.sizes):
        raise InputError(f"model.weights has {len(model.weights)} numbers for {len(model.sizes)} sizes")
    if not 0 <= model.frozen <= config.layers:
        raise InputError(f"model.frozen {model.frozen}: {model.base} has {config.layers} layers")
    if not 1 <= recipe.training.max_length <= config.max_positions:
        raise InputError(
            f"training.max_length {recipe.training.max_length}: {model.base} reads 1 to {config.max_positions} tokens"
        )
