"""Results as text for a language model, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from codekin.search import Result, snippet

_BYTES_PER_TOKEN = 3
"""Of UTF-8, and on the safe side: Qwen2.5's tokenizer makes one of 3.5 to 4.4 bytes of source, 2.1 at the least."""
_ROUNDS = (4, 12, 36, 108)  # lines that a snippet may have
_WIDTH = 240  # characters of a line


def fitted(results: Sequence[tuple[str, Result]], query: str, max_tokens: int, *, head: str) -> str:
    """A line `head`, and the results with their paths as they are to be shown: path, lines, symbol and code.

    The budget goes to places first, then to more and more lines of each, the best results first: what does not fit
    of them is left out, and said to be.
    """
    heads: list[str] = []
    spent = tokens(head)
    for path, result in results:
        place = f"{path}:{result.start_line}-{result.end_line} {result.symbol}".rstrip()
        spent += tokens(f"\n\n{place}")
        if spent > max_tokens and heads:
            break
        heads.append(place)
    blocks = list(heads)
    growing = list(range(len(heads)))
    for lines in _ROUNDS:
        shown, growing = growing, []
        for number in shown:
            result = results[number][1]
            block = f"{heads[number]}{_excerpt(result, query, lines)}"
            more = tokens(block) - tokens(blocks[number])
            if spent + more <= max_tokens:
                spent += more
                blocks[number] = block
                if lines <= result.end_line - result.start_line:
                    growing.append(number)
    left = len(results) - len(heads)
    tail = [f"({left} more did not fit into max_tokens)"] if left else []
    return "\n\n".join([head, *blocks, *tail])


def tokens(text: str) -> int:
    """About how many tokens a language model reads of a text, rather too many than too few."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def _excerpt(result: Result, query: str, lines: int) -> str:
    """The lines of a result that say most about the query, and which those are if not all."""
    found = snippet(result.text, query, lines, symbol=result.symbol)
    chunk = result.text.split("\n")
    first, last = result.start_line + found.first, result.start_line + found.last
    is_whole = not any(line.strip() for line in chunk[: found.first] + chunk[found.last + 1 :])
    cut = [
        line if len(line) <= _WIDTH else f"{line[:_WIDTH]}…" for line in chunk[found.first : found.last + 1]
    ]
    return "\n".join(["" if is_whole else f", lines {first}-{last}", *cut])
