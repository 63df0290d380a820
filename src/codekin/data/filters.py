"""What may be trained on: paths, whole files, queries and documents that are fit, and how queries are cleaned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath

from codekin.source import language_of

# Text nobody searches as code, or data in a format of its own.
_DATA_LANGUAGES = frozenset(
    "asm css dockerfile graphql haml html ini json less liquid make prisma scss svelte tex text toml "
    "verilog vhdl vue xml yaml".split()
)
# Other people's code inside a package, of which neither licence nor origin is the package's; and tests,
# whose names and comments describe the test rather than what it does.
_SKIPPED_FOLDERS = frozenset(
    "3rdparty 3rd-party third_party third-party thirdparty vendor vendored _vendor _vendored vendors node_modules "
    "bower_components external externals extern ext_libs extlibs subprojects deps dep submodules site-packages "
    "test tests testing testdata test-data __tests__ __mocks__ spec specs fixtures testsuite test_data "
    "locale locales i18n translations min dist dist-newstyle umd bundles bundled godeps debian "
    "typeshed".split()
)
_SKIPPED_NAME = re.compile(
    r"\.min\.\w+$|[-.]bundle\.\w+$|\.d\.[mc]?ts$|\.pyi$|^test_|_test\.\w+$|_tests?\.\w+$|\.(?:test|spec)\.\w+$"
    r"|Tests?\.(?:java|kt|cs|scala|swift|php)$|_pb2|\.pb\.\w+$|_generated\.|\.generated\.|\.g\.cs$|\.Designer\.cs$"
    r"|^(?:changelog|changes|history|news|releases?|copying|licen[cs]e|notice|authors|contributors|credits"
    r"|thanks|code_of_conduct|security|third.?party.*)\b",
    re.IGNORECASE,
)


# Folders and packages that a repository is known by when they do not bear its name. An empty entry says that
# the name alone is everyday language.
_ALIASES = {
    "abseil/abseil-cpp": "absl abseil",
    "apache/commons-lang": "lang3 commons-lang3 libcommons-lang3-java libcommons-lang-java",
    "fasterxml/jackson-databind": "databind jackson2-databind",
    "google/gson": "libgoogle-gson-java",
    "laravel/framework": "laravel illuminate",
    "nlohmann/json": "nlohmann nlohmann-json nlohmann-json3 nlohmann-json3-dev",
    "rails/rails": "activesupport activerecord actionpack actionview activemodel activejob actionmailer "
    "actioncable activestorage actiontext actionmailbox railties",
    "serde-rs/serde": "serde_derive librust-serde-derive-dev",
    "tokio-rs/axum": "axum-core axum-macros",
    "tokio-rs/tokio": "tokio-util tokio-macros tokio-stream librust-tokio-util-dev librust-tokio-macros-dev",
}
_EVERYDAY = frozenset({"json", "framework"})


@lru_cache(maxsize=8)
def held_out_names(repositories: tuple[str, ...]) -> frozenset[str]:
    """The lower-case names under which held-out repositories (`owner/name`) turn up as packages and folders."""
    names: set[str] = set()
    for repository in repositories:
        owner, _, name = repository.lower().partition("/")
        names |= {f"golang-github-{owner}-{name}", f"golang-github-{owner}-{name}-dev", f"{owner}-{name}"}
        names |= {f"{owner}.{name}", f"@{owner}/{name}", *_ALIASES.get(f"{owner}/{name}", "").split()}
        if name in _EVERYDAY:
            continue
        names |= {name, name.replace(".", "-"), name.removesuffix(".nvim"), name.removesuffix("-cpp")}
        names |= {
            f"{prefix}-{name}" for prefix in ("rust", "ruby", "php", "haskell", "node", "golang", "python")
        }
        names |= {
            f"lib{name}",
            f"lib{name}-dev",
            f"librust-{name}-dev",
            f"libghc-{name}-dev",
            f"golang-{name}-dev",
        }
    return frozenset(names)


def is_held_out(package: str, repositories: tuple[str, ...]) -> bool:
    """Whether a package name, or the scope it is published under, is that of a held-out repository."""
    scope, _, _ = package.lower().partition("/")
    names = held_out_names(repositories)
    return package.lower() in names or (scope.startswith("@") and scope[1:] in names)


def is_source_path(path: str, held_out: tuple[str, ...] = ()) -> bool:
    """Whether a package's file may be mined: source or prose of its own, no tests, nothing held out."""
    pure = PurePosixPath(path)
    folders = [part.lower() for part in pure.parts[:-1]]
    if language_of(path) in _DATA_LANGUAGES or _SKIPPED_NAME.search(pure.name):
        return False
    if any(folder in _SKIPPED_FOLDERS or folder.startswith(".") for folder in folders):
        return False
    names = held_out_names(held_out)
    # A folder may carry the version behind the name ("click-8.1").
    if any(folder in names or re.sub(r"-v?\d.*$", "", folder) in names for folder in folders):
        return False
    return pure.name.lower() != "json.hpp" or "nlohmann" not in names


_COPYLEFT = re.compile(
    r"GNU\s+(?:Lesser\s+|Library\s+|Affero\s+)?(?:General\s+)?Public\s+Licen[cs]e|\b[AL]?GPL(?:v?[23]|\b)"
    r"|Mozilla\s+Public\s+License|\bMPL[- ]?[12]\.|Eclipse\s+Public\s+License|\bEPL-\d|\bCDDL\b|\bEUPL\b"
    r"|Common\s+Public\s+License|CC[- ]BY[- ](?:NC|SA|ND)|Proprietary\s+and\s+confidential|Business\s+Source",
    re.IGNORECASE,
)
_GENERATED = re.compile(
    r"@generated\b|\bdo\s+not\s+(?:edit|modify)\b|\bauto-?(?:matically\s+)?generated\b"
    r"|\bgenerated\s+(?:by|from|code|file|automatically)\b|\bmachine[- ]generated\b",
    re.IGNORECASE,
)
# Plain text that one of each pattern's matches has in it: few heads then need the patterns.
_COPYLEFT_MARKS = (
    "public licen", "gpl", "mpl-", "mpl ", "epl-", "cddl", "eupl", "cc-by", "cc by", "proprietary and",
    "business source",
)  # fmt: skip
_GENERATED_MARKS = ("generated", "do not edit", "do not modify")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_HEAD = 3000


def is_trainable(text: str) -> bool:
    """Whether a whole file may be used: written by people, under the package's licence, no key inside."""
    head = " ".join(text[:_HEAD].lower().split())
    if any(mark in head for mark in _COPYLEFT_MARKS) and _COPYLEFT.search(text[:_HEAD]):
        return False
    if "PRIVATE KEY" in text and _PRIVATE_KEY.search(text):
        return False
    return is_handwritten(text)


def is_handwritten(text: str) -> bool:
    """Whether a file is written by people: neither generated nor minified, nor data."""
    head = " ".join(text[:_HEAD].lower().split())
    if any(mark in head for mark in _GENERATED_MARKS) and _GENERATED.search(text[:_HEAD]):
        return False
    return len(text) < 160 * (text.count("\n") + 1)


# What a credential begins with, and the rest of it. Plain text in front lets a pattern run as fast as a search for it.
_CREDENTIALS = tuple(
    (mark, re.compile(re.escape(mark) + (rf"(?<!\w{re.escape(mark)})" if mark[0].isalpha() else "") + rest))
    for marks, rest in (
        ("AKIA ASIA", r"[0-9A-Z]{16}\b"),  # AWS
        ("ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{36}"),
        ("github_pat_", r"\w{22,}"),
        ("glpat-", r"[\w-]{20}"),
        ("xoxa- xoxb- xoxe- xoxp- xoxr- xoxs-", r"[A-Za-z0-9-]{10,}"),  # Slack
        ("hooks.slack.com/services/", r"T\w+/B\w+/\w{16,}"),
        ("AIza", r"[0-9A-Za-z_-]{35}"),  # Google
        ("ya29.", r"[\w-]{20,}"),
        ("sk_live_ rk_live_", r"[0-9A-Za-z]{20,}"),  # Stripe
        ("sk-", r"(?=[\w-]*\d)[\w-]{32,}"),  # OpenAI, Anthropic
        ("hf_", r"[A-Za-z]{30,}"),
        ("npm_", r"[A-Za-z0-9]{36}"),
        ("pypi-AgEI", r"[\w-]{20,}"),
        ("SG.", r"[\w-]{16,}\.[\w-]{16,}"),  # SendGrid
        ("eyJ", r"[\w-]{17,}\.eyJ[\w-]{20,}\.[\w-]{20,}"),  # JSON Web Token
        ("-----BEGIN", r"[A-Z ]* PRIVATE KEY"),
        # A name and password in an address; placeholders have no digit in them.
        ("://", r"[\w.%+-]+:(?=[^\s/@\"'`{}$<>]*\d)[^\s/@\"'`{}$<>*]{6,}@[\w-]"),
    )
    for mark in marks.split()
)
# A literal with a digit beside letters, no blank and nothing to be filled in, given to what is called a password.
_LITERAL = re.compile(
    r"[:=>]\s{0,8}[bru]?[\"'`](?=[^\"'`\s]*[A-Za-z])(?=[^\"'`\s]*\d)[^\"'`\s{}$<>()]{8,}[\"'`]"
)
_SECRET_NAME = re.compile(
    r"(?:passw(?:or)?d|passwd|pwd|passphrase|secret|token|credential|(?:api|access|private|auth|encryption)[_-]?key)"
    r"\w{0,12}[\"'`]?\]?\s{0,8}[:=]?$",
    re.IGNORECASE,
)
_NAME_SIZE = 48


def has_secret(text: str) -> bool:
    """Whether a text holds what looks like a live credential."""
    if any(mark in text and pattern.search(text) for mark, pattern in _CREDENTIALS):
        return True
    return any(
        _SECRET_NAME.search(text[max(0, at.start() - _NAME_SIZE) : at.start()])
        for at in _LITERAL.finditer(text)
    )


# Where prose ends and reference sections begin, in the documentation conventions of the languages mined.
_TAGS = re.compile(
    r"^[ \t]*(?:[@\\](?!code\b|link\b|c\b|p\b|a\b|e\b|b\b|ref\b|brief\b|short\b|description\b|desc\b|summary\b"
    r"|title\b|details\b|inheritdoc\b|ingroup\b|internal\b|since\b|api\b|name\b|module\b|class\b|function\b)"
    r"[A-Za-z]+"
    r"|:(?:param|type|return|returns|rtype|raise|raises|arg|args|keyword|var|ivar|cvar|meta|synopsis)\b[^:]*:"
    r"|(?:Args?|Arguments|Parameters?|Params|Returns?|Yields?|Raises|Throws|Examples?|Notes?|See Also|References"
    r"|Attributes|Keyword Args|Keyword Arguments|Usage|Inputs?|Outputs?|Warnings?|Shape|Synopsis|Options"
    r"|Properties|Fields|Panics|Errors|Safety|Side effects|Complexity)\s*:?[ \t]*$"
    r"|(?:Args?|Arguments|Parameters|Params|Returns|Usage|Examples?|Input|Output)\s*:[ \t]"
    r"|#{1,4}[ \t]|-{3,}|={3,}|>>>|```|~~~|\.\.[ \t]|<(?:pre|ul|ol|table|dl|h\d|param|returns?|example|exception)\b"
    r"|-[ \t]+(?:Parameters?|Returns?|Throws)\b|\+-)",
    re.MULTILINE | re.IGNORECASE,
)
# Tags that say nothing themselves; what follows them may be the description.
_LEADING_TAG = re.compile(
    r"^[ \t]*(?:[@\\](?:brief|short|description|desc|summary|title|details)\b[ \t]*:?"
    r"|[@\\](?:ingroup|internal|since|api|name|module|class|function)\b[^\n]*"
    r"|</?(?:summary|remarks|p|para|description)>|(?:Public|Internal|Private|Deprecated|Summary|Description)\s*:"
    r"|'''|\"\"\")[ \t]*",
    re.MULTILINE | re.IGNORECASE,
)
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"', "&nbsp;": " "}
_MARKUP: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\{@link\w*\s+([^}|\s]+)[|\s]*([^}]*)\}"), lambda m: m[2] or m[1]),  # Javadoc, JSDoc
    (re.compile(r"\{@\w+\s+([^}]*)\}"), lambda m: m[1]),
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), lambda m: ""),  # Markdown image
    (re.compile(r"\[([^\]]+)\]\((?:[^()]|\([^()]*\))*\)"), lambda m: m[1]),  # Markdown link
    (re.compile(r"\[([^\]]+)\]\[[^\]]*\]"), lambda m: m[1]),
    (
        re.compile(r"<see(?:also)?\s+(?:cref|langword|href)\s*=\s*\"(?:[A-Z]:)?([^\"]*)\"\s*/?>"),
        lambda m: m[1],
    ),
    (re.compile(r"<(?:type)?paramref\s+name\s*=\s*\"([^\"]*)\"\s*/?>"), lambda m: m[1]),
    (re.compile(r":[\w:+.-]+:`([^`<]*?)(?:\s*<([^`>]*)>)?`"), lambda m: (m[1] or m[2] or "").lstrip("~!.")),
    (re.compile(r"`([^`<]+?)\s*<[^`>]+>`_{1,2}"), lambda m: m[1]),  # reST link
    (re.compile(r"\b[LCFBIE]<{1,3}\s*(?:([^<>|]*)\|)?([^<>]*?)\s*>{1,3}"), lambda m: m[1] or m[2]),  # POD
    (re.compile(r"[\\@](?:c|p|a|e|b|ref|code|link|em)\b[ {]*"), lambda m: ""),  # Doxygen, roxygen
    (re.compile(r"\\(?:link|code|emph|strong|pkg)\{([^{}]*)\}"), lambda m: m[1]),
    (re.compile(r"</?[A-Za-z][\w:-]*(?:\s[^<>]*)?/?>"), lambda m: " "),  # HTML, XML
    (re.compile(r"https?://\S+|\bwww\.\S+"), lambda m: ""),
    (re.compile(r"&(?:lt|gt|amp|quot|nbsp);"), lambda m: _ENTITIES[m[0]]),
    (re.compile(r"`+|\*\*|__(?=\w[^_]*__)|(?<=\w)__(?!\w)|''+"), lambda m: ""),
    (re.compile(r"\s\(\s*(?:see\s*)?\)|\s\[\s*\]|\s<\s*>"), lambda m: ""),
)
_SENTENCE_END = re.compile(
    r"(?<![A-Z.])(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)(?<!cf)[.!?][\"')\]]*\s+(?=[A-Z`'\"(])"
)
MIN_WORDS, MAX_WORDS = 3, 200
_LONG = 40


def summary(documentation: str) -> str:
    """The prose that opens a documentation text, as one line: its first paragraph without tags and markup.

    Of a paragraph over forty words, the sentences that fit into those, at least one.
    """
    text = _LEADING_TAG.sub("", documentation).strip()
    if found := _TAGS.search(text):
        text = text[: found.start()].rstrip()
    paragraph = re.split(r"\n[ \t]*\n|\n[ \t]*(?=[-*+][ \t]|\d+[.)][ \t])", text, maxsplit=1)[0]
    return clean_prose(paragraph, _LONG)


def clean_prose(text: str, words: int = MAX_WORDS) -> str:
    """A paragraph as one line without markup or links, of at most about `words` words, cut at a sentence."""
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    text = " ".join(text.split())
    text = re.sub(r"\s+([.,;:!?])", r"\1", text).strip(" -*:#|=~\t")
    if text.count(" ") < words:
        return text
    start, end = 0, 0
    for stop in _SENTENCE_END.finditer(text):
        if end and text.count(" ", start, stop.end()) > words:
            break
        end = stop.end()
    return text[:end].strip() if end else text


_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_BOILERPLATE = re.compile(
    r"^(?:todo|fixme|xxx|hack|see\b(?! if| whether)|same as|ditto|as above|idem|inherit(?:ed)?\s?doc|\{?@inherit"
    r"|non-javadoc|\(non-javadoc|auto-?generated|creates? new form|copyright|licen[cs]ed?\b|spdx|author|eslint"
    r"|pylint|noqa|nolint|clang-format|istanbul|c8 ignore|prettier-ignore|type:|coding[:=]|vim:|-\*-|region\b"
    r"|endregion|docstring|placeholder|constructor\.?$|default constructor|destructor|getter|setter|internal use"
    r"|for internal|deprecated\b|do not use|not documented|undocumented|no description|missing documentation"
    r"|overrides?\b|implements?\s+\S+\.?$|implementation of\s+\S+\.?$|test\b|\S+$|generated\b"
    r"|this (?:method|function|class) is (?:called|deprecated)|wrapper (?:for|around)\s+\S+\.?$"
    r"|alias (?:for|of)\s+\S+\.?$|used (?:by|in)\s+\S+\.?$)",
    re.IGNORECASE,
)
_CODE_LIKE = re.compile(r"[{}();=<>\[\]|\\&^%$#@~]")
_FOREIGN = frozenset(
    "der die das und ist nicht ein eine mit fur von wird auf dem den le la les des une est pour dans que qui avec "
    "sur du el los las una por para con del como il lo gli della che per sono nel um uma nao com os dos da "
    "het een van niet voor wordt".split()
)
_ENGLISH = frozenset(
    "the a an of to in is for and or if this that with from by on as be it are at not when which return returns "
    "get set whether given all used can will into has using".split()
)


def is_query(text: str) -> bool:
    """Whether a cleaned text could be what an English-speaking reader asks for: no boilerplate, no code."""
    words = _WORD.findall(text)
    if not MIN_WORDS <= len(words) <= MAX_WORDS or len(text) > 12 * MAX_WORDS:
        return False
    letters = sum(map(len, words))
    if letters < 0.6 * len(text.replace(" ", "")) or len(_CODE_LIKE.findall(text)) > 0.06 * len(text):
        return False
    if not text.isascii() and sum(c > "\u024f" for c in text) > 0.05 * len(text):
        return False
    lower = [word.lower() for word in words]
    foreign = sum(word in _FOREIGN for word in lower)
    if foreign > 1 and foreign > sum(word in _ENGLISH for word in lower):
        return False
    return not _BOILERPLATE.match(text) and not has_secret(text)


def fingerprint(text: str) -> int:
    """64 bits that are equal for texts which differ in case and white space alone."""
    normal = "".join(text.split()).lower().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(normal, digest_size=8).digest(), "big")
