"""Tokens equal to those of transformers' Qwen2 tokenizer, on text of every kind; no text is ever a special token."""

from __future__ import annotations

import json
import random
import sysconfig
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from codekin.embed.tokens import TextTokenizer
from codekin.errors import ModelError

transformers = pytest.importorskip("transformers")

END = "<|endoftext|>"
SAMPLES = Path(__file__).parent.parent / "source" / "samples"
# First and last code points: controls, Latin, combining marks, Greek and Cyrillic, Arabic, Devanagari, Thai, zero-width
# and directions, CJK, kana, Hangul and its jamo, compatibility forms, emoji and their modifiers, tags, private use,
# lone surrogates.
RANGES = [
    (0x00, 0x1F), (0x20, 0x7E), (0x7F, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x600, 0x6FF), (0x900, 0x97F),
    (0xE00, 0xE7F), (0x1100, 0x11FF), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
    (0xD800, 0xDFFF), (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE0F), (0x1F300, 0x1FAFF),
    (0x20000, 0x2A6DF), (0xE0000, 0xE007F),
]  # fmt: skip
PIECES = [
    "", " ", "  ", "\n", "\r\n", "\n\n\n", "\t", " \n ", "\u00a0", "\u3000", "\x00", "\ufeff", "\u200d", "'s", "'LL",
    "'ſ", "don't", "0", "123456", "٣٤", "½", "Ⅷ", "_", "__init__", "->", "!=", "<|", "|>", "<|endoftext", "endoftext|>",
    END, "<|im_start|>", "<|im_end|>", "<|ENDOFTEXT|>", "e\u0301", "\u0301", "ﬁ", "ß", "İ", "\u1100\u1161", "각",
    "中文", "🙂", "👩‍👩‍👧", "🇩🇪", "camelCase", "snake_case", "CONST", "if (x) {", "\ud800", "\udfff",
]  # fmt: skip


def strings(count: int) -> list[str]:
    """Slices of source files in many languages, runs of one script, and mixtures of what tokenizers trip over."""
    chance = random.Random(5)
    files = [path for path in sorted(SAMPLES.iterdir()) if path.is_file()]
    files += sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:80]
    sources = [path.read_text(encoding="utf-8", errors="replace") for path in files]

    def one() -> str:
        kind = chance.randrange(4)
        if kind == 0:
            source = chance.choice(sources)
            start = chance.randrange(len(source))
            return source[start : start + chance.randrange(1, 400)]
        if kind == 1:
            first, last = chance.choice(RANGES)
            return "".join(chr(chance.randint(first, last)) for _ in range(chance.randrange(1, 30)))
        if kind == 2:
            return "".join(
                chr(chance.randint(*chance.choice(RANGES))) for _ in range(chance.randrange(1, 30))
            )
        return "".join(chance.choice(PIECES) for _ in range(chance.randrange(8)))

    return [one() for _ in range(count)]


def plain(text: str) -> str:
    """The text as UTF-8 holds it."""
    return text.encode("utf-8", "replace").decode()


@pytest.fixture(scope="module")
def ours(qwen2_file: Path) -> TextTokenizer:
    return TextTokenizer.from_folder(qwen2_file.parent)


def test_ids_equal_those_of_transformers(qwen2_file: Path, ours: TextTokenizer) -> None:
    theirs = transformers.Qwen2Tokenizer.from_pretrained(str(qwen2_file.parent), split_special_tokens=True)
    texts = strings(10_000)
    assert sum(END in text for text in texts) > 100
    expected = theirs([plain(text) for text in texts])["input_ids"]
    for text, own, other in zip(texts, ours.encode(texts), expected, strict=True):
        assert own == other, repr(text)


@settings(deadline=None)
@given(parts=st.lists(st.text(st.characters()) | st.sampled_from([END, "<tool_call>", "<|im_start|>"])))
def test_every_text_comes_back_and_holds_no_added_token(ours: TextTokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    [ids] = ours.encode([text])
    assert ours.decode(ids) == unicodedata.normalize("NFC", plain(text))
    assert all(number < ours.size - 3 for number in ids)  # the three added tokens have the last ids


def test_special_tokens_decode_as_they_are_written(ours: TextTokenizer) -> None:
    assert ours.decode(range(ours.size - 3, ours.size)) == "<|endoftext|><|im_start|><tool_call>"


def test_what_the_file_sets_around_a_text(qwen2_file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(qwen2_file))
    end, start = tokenizer.token_to_id(END), tokenizer.token_to_id("<|im_start|>")
    tokenizer.post_processor = TemplateProcessing(
        single=f"<|im_start|> $A {END}", special_tokens=[("<|im_start|>", start), (END, end)]
    )
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": {"content": END}, "model_max_length": 77})
    )
    ours = TextTokenizer.from_folder(tmp_path)
    assert (ours.prefix, ours.suffix, ours.padding, ours.max_length) == ((start,), (end,), end, 77)
    [empty, text] = ours.encode(["", f"one two three four {END}"])
    assert empty == [start, end]
    assert text[0] == start
    assert text[-1] == end
    assert not {start, end} & set(text[1:-1])
    assert len(text) > 8


def test_vocabulary_and_merges_alone(qwen2_file: Path, ours: TextTokenizer, tmp_path: Path) -> None:
    whole = json.loads(qwen2_file.read_text(encoding="utf-8"))
    (tmp_path / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(merge) for merge in whole["model"]["merges"])
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + merges + "\n", encoding="utf-8")
    added = {token.pop("id"): token for token in whole["added_tokens"]}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": added, "pad_token": END})
    )
    again = TextTokenizer.from_folder(tmp_path)
    texts = strings(300)
    assert again.encode(texts) == ours.encode(texts)
    assert again.size == ours.size
    assert again.padding == ours.size - 3


def test_saved_and_read_by_transformers(ours: TextTokenizer, tmp_path: Path) -> None:
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    texts = [*strings(1000), f"{END}<tool_call><|im_start|>"]
    assert theirs([plain(text) for text in texts])["input_ids"] == ours.encode(texts)
    assert TextTokenizer.from_folder(tmp_path).encode(texts) == ours.encode(texts)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": {"type": "BPE"}}', "\x00\xff"])
def test_files_that_are_no_tokenizer(tmp_path: Path, content: str) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        TextTokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json: not a tokenizer"):
        TextTokenizer.from_folder(tmp_path)
