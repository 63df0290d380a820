"""Small models of BERT's kind that tests make, and their tokenizer."""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:40]
    trainer = trainers.WordPieceTrainer(vocab_size=1200, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train([str(source) for source in sources], trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return str(tokenizer.to_str())


def bert_tokenizer() -> Any:
    """transformers' tokenizer of lower-case word pieces, trained on Python's own sources."""
    import transformers

    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def save_classifier(folder: Path, labels: int = 1) -> Path:
    """A random BERT for sequence classification in a folder, as transformers writes it."""
    import torch
    import transformers

    bert_tokenizer().save_pretrained(folder)
    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=1200,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=96,
        initializer_range=0.4,
        num_labels=labels,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder
