"""The training sets and benchmarks of jina-code-embeddings (arXiv 2508.21290, Tables 2 to 4).

Where the paper does not say how a set's records became pairs, or which of them it held out, the entry says what is
done here. A licence is what the set's own page or repository states, else what MTEB states, else "unknown".
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from codekin.data import adapters
from codekin.data.downloads import RemoteFile
from codekin.data.pairs import UNKNOWN
from codekin.data.sets import (
    PER_RECORD,
    RESEARCH_ONLY,
    ByHand,
    DataSet,
    Fold,
    Hub,
    Kind,
    Use,
    Web,
)
from codekin.errors import InputError
from codekin.tasks import Task

_WHOLE = ("corpus/*", "queries/*", "*/{split}-*")
_PARTS = ("*-corpus/*", "*-queries/*", "*-qrels/{split}-*")

# Revisions of sets that MTEB evaluates are those of MTEB 2.26.
_APPS = Hub("CoIR-Retrieval/apps", _WHOLE, "f22508f96b7a36c2415181ed8bb76f76e04ae2d5")
_COSQA = Hub("CoIR-Retrieval/cosqa", _WHOLE, "bc5efb7e9d437246ce393ed19d772e08e4a79535")
_FEEDBACK_MT = Hub("CoIR-Retrieval/codefeedback-mt", _WHOLE, "b0f12fa0c0dd67f59c95a5c33d02aeeb4c398c5f")
_FEEDBACK_ST = Hub("CoIR-Retrieval/codefeedback-st", _WHOLE, "d213819e87aab9010628da8b73ab4eb337c89340")
_CONTEST = Hub("CoIR-Retrieval/codetrans-contest", _WHOLE, "20da4eb20a4b17300c0986ee148c90867a7f2a4d")
_DL = Hub("CoIR-Retrieval/codetrans-dl", _WHOLE, "281562cb8a1265ab5c0824bfa6ddcd9b0a15618f")
_CCR = Hub("CoIR-Retrieval/CodeSearchNet-ccr", _PARTS, "6e1effa2c03723c5fde48ee912b5ee08d4f211e8")
_COIR_CSN = Hub("CoIR-Retrieval/CodeSearchNet", _PARTS, "4adc7bc41202b5c13543c9c886a25f340634dab3")
_TEXT2SQL = Hub("CoIR-Retrieval/synthetic-text2sql", _WHOLE, "686b87296c3a0191b5d9415a00526c62db9fce09")
_COMMITS = Hub("bigcode/commitpackft", ("data/*/data.jsonl",), "fc56fe33c030c6daa414c2b112c932b8eed085e6")
_LEETCODE = Hub("greengerong/leetcode", ("leetcode-train.jsonl",))
_MBPP = Hub("google-research-datasets/mbpp", ("full/{split}-*",))
_ML_QUESTIONS = Hub("McGill-NLP/mlquestions", ("{split}.csv",))
_SPIDER = Hub("xlangai/spider", ("spider/{split}-*",))
_SWE_BENCH = Hub("princeton-nlp/SWE-bench", ("data/{split}-*",), "e48e2bd1e9fecd5bbd641e9414ac59da9f2e69f6")

_STACK_OVERFLOW = Hub("CoIR-Retrieval/stackoverflow-qa", _WHOLE)
_STACK_OVERFLOW_TEST = Hub("mteb/StackOverflowQA", _WHOLE, "7b46f5ebd2365278c1bb025986dda2fee893bbf5")
_CSN_TEST = Hub("mteb/CodeSearchNetRetrieval", _PARTS, "68e8f0731a656fa4bd5b7c81936d95ad48a39bfe")
_CODE_EDITS = Hub("cassanof/CodeEditSearch", ("*/train-*",), "4e51c66e0939303f6928472f13ad0848b2a3f4c0")
_CODEFORCES = Hub("MatrixStudio/Codeforces-Python-Submissions", ("data/{split}-*",))
_GLAIVE = Hub("glaiveai/glaive-code-assistant-v2", ("*.json",), "cf9b79f2cd8324c2f6a25f5db147a943f86f4bcd")
_DS1000 = Hub("xlangai/DS-1000", ("{split}.jsonl",))
_HUMAN_EVAL = Hub("openai/openai_humaneval", ("openai_humaneval/{split}-*",))

_DESCRIPTION2CODE = Web(
    "https://github.com/ethancaballero/description2code",
    "description2code",
    (
        RemoteFile(
            "https://www.dropbox.com/s/zwj6u4caehf54s0/description2code_current.zip?dl=1",
            "description2code_current.zip",
        ),
    ),
)
_CODE_SEARCH_NET = Web(
    "https://github.com/github/CodeSearchNet",
    "CodeSearchNet",
    tuple(
        RemoteFile(f"https://s3.amazonaws.com/code-search-net/CodeSearchNet/v2/{name}.zip", f"{name}.zip")
        for name in ("go", "java", "javascript", "php", "python", "ruby")
    ),
)
_STACK_SAMPLE = Web(
    "https://www.kaggle.com/datasets/stackoverflow/stacksample",
    "stacksample",
    (
        RemoteFile(
            "https://www.kaggle.com/api/v1/datasets/download/stackoverflow/stacksample", "stacksample.zip"
        ),
    ),
)
_WIKI_SQL = Web(
    "https://github.com/salesforce/WikiSQL",
    "WikiSQL",
    (
        RemoteFile(
            "https://raw.githubusercontent.com/salesforce/WikiSQL/7857cfd8aefcc9823245c370f9e39ecd55745ea6/"
            "data.tar.bz2",
            "data.tar.bz2",
            digest="git:941de4cb2ad5fa7aeb2e37d314468636ce070af7",
        ),
    ),
)


def _doc2code(*digests: tuple[str, str]) -> Web:
    base = (
        "https://raw.githubusercontent.com/EdinburghNLP/code-docstring-corpus/"
        "385207e41898dece913cafb8a5b31144014db29d/parallel-corpus"
    )
    files = tuple(RemoteFile(f"{base}/{name}", name, digest=f"git:{digest}") for name, digest in digests)
    return Web("https://github.com/EdinburghNLP/code-docstring-corpus", "code-docstring-corpus", files)


_DOC2CODE_TRAIN = _doc2code(
    ("data_ps.declbodies.train.gz", "db9f63d2e9735bca6a36442a868b4035d4c267ab"),
    ("data_ps.descriptions.train", "abb4416fcf501a22db947f19cc76b81c9a9fbf24"),
)
_DOC2CODE_TEST = _doc2code(
    ("data_ps.declbodies.test", "7b278a32a2941b8541bf881c5cea90919b2fc9b5"),
    ("data_ps.descriptions.test", "8f49c8f047af03142700069f44b59400075c5586"),
)
_STACK_EXCHANGE = ByHand(
    "https://archive.org/details/stackexchange",
    "stackexchange",
    "download the dumps of the sites wanted and unpack each into a folder of the site's name (7z x)",
)
_COSQA_PLUS = ByHand(
    "https://github.com/DeepSoftwareAnalytics/CoSQA_Plus",
    "CoSQA_Plus",
    "download the Google Drive folder that its README names",
)
_CODECHEF = replace(
    _DESCRIPTION2CODE,
    then="codekin data fetch CodeChefP2S --to seeds.jsonl, and codekin data synthesize solutions seeds.jsonl "
    "codechef.jsonl in the folder of its files writes the other languages",
)
_DL_TRANSLATIONS = ByHand(
    "https://arxiv.org/abs/2508.21290",
    "SyntheticDLTrans",
    "codekin data synthesize frameworks writes it, from deep-learning code of a licence that allows it",
)

_MBPP_PAIRS = adapters.columns(r"full/{split}-.*\.parquet", "text", "code", "python")
_ML_PAIRS = adapters.columns(r"{split}\.[ct]sv", "target_text", "input_text")
_SPIDER_PAIRS = adapters.columns(r"spider/{split}-.*\.parquet", "question", "query", "sql")
_SWE_PAIRS = adapters.columns(r"data/{split}-.*\.parquet", "problem_statement", "patch", "python")
_GLAIVE_PAIRS = adapters.columns(r"glaive_code_assistant_v2\.json", "question", "answer")

_BY_MTEB = "the licence is what MTEB states"
_NO_SPLIT = "what the paper held out is not published: here one problem in twenty, by a hash of its name"
_COMMIT_NOTE = f"every record names its licence, all of them permissive; {_NO_SPLIT}"
_NOT_OWNED = "who published the collection says that problems and solutions are not theirs to license"
_PROJECTS = "each record is under the licence of the project it is from"

_NL2CODE, _QA, _CODE2CODE = Task.NL2CODE, Task.QA, Task.CODE2CODE
_CODE2NL, _COMPLETION = Task.CODE2NL, Task.CODE2COMPLETION
_TRAIN, _TEST = Use.TRAINING, Use.BENCHMARK
_FIT, _HELD_OUT = Fold.FIT, Fold.HELD_OUT
_MTEB, _ADAPTED, _SYNTHETIC = Kind.MTEB, Kind.ADAPTED, Kind.SYNTHETIC

# A line for each set: the formatter would make ten.
# fmt: off
CATALOG: tuple[DataSet, ...] = (
    DataSet("AppsRetrieval", _TRAIN, _NL2CODE, _MTEB, _APPS, "MIT", "train", adapters.retrieval("python"),
            note=_BY_MTEB),
    DataSet("CodeFeedbackMT", _TRAIN, _QA, _MTEB, _FEEDBACK_MT, "MIT", "train", adapters.retrieval(), note=_BY_MTEB),
    DataSet("CodeFeedbackST", _TRAIN, _QA, _MTEB, _FEEDBACK_ST, "MIT", "train", adapters.retrieval(), note=_BY_MTEB),
    DataSet("CodeTransOceanContest", _TRAIN, _CODE2CODE, _MTEB, _CONTEST, "Apache-2.0", "train",
            adapters.retrieval()),
    DataSet("CodeTransOceanDL", _TRAIN, _CODE2CODE, _MTEB, _DL, "Apache-2.0", "train", adapters.retrieval("python")),
    DataSet("CodeSearchNetCCRetrieval", _TRAIN, _COMPLETION, _MTEB, _CCR, "MIT", "train", adapters.retrieval(),
            note=_BY_MTEB),
    DataSet("COIR-CodeSearchNet", _TRAIN, _CODE2NL, _MTEB, _COIR_CSN, "MIT", "train", adapters.retrieval(),
            note=_BY_MTEB),
    DataSet("CoSQA", _TRAIN, _NL2CODE, _MTEB, _COSQA, "MIT", "train", adapters.retrieval("python"), note=_BY_MTEB),
    DataSet("StackOverflowQA", _TRAIN, _QA, _MTEB, _STACK_OVERFLOW, "MIT", "train", adapters.retrieval(),
            note=_BY_MTEB),
    DataSet("SyntheticText2SQL", _TRAIN, _NL2CODE, _MTEB, _TEXT2SQL, "MIT", "train", adapters.retrieval("sql"),
            note=_BY_MTEB),
    DataSet("CodeForcesP2S", _TRAIN, _NL2CODE, _ADAPTED, _CODEFORCES, UNKNOWN, "train", adapters.codeforces,
            note="accepted submissions only"),
    DataSet("CodeForcesS2S", _TRAIN, _CODE2CODE, _ADAPTED, _DESCRIPTION2CODE, UNKNOWN, "train",
            adapters.solutions("codeforces"), note=_NOT_OWNED),
    DataSet("CodeSearchNet", _TRAIN, _NL2CODE, _ADAPTED, _CODE_SEARCH_NET, PER_RECORD, "train",
            adapters.code_search_net, note="licences of the repositories come in each archive's *_licenses.pkl"),
    DataSet("CommitPackFT", _TRAIN, _NL2CODE, _ADAPTED, _COMMITS, PER_RECORD, "train", adapters.commits, fold=_FIT,
            note=_COMMIT_NOTE),
    DataSet("CoSQA+", _TRAIN, _NL2CODE, _ADAPTED, _COSQA_PLUS, UNKNOWN, "train", adapters.cosqa_plus),
    DataSet("DataScience", _TRAIN, _QA, _ADAPTED, _STACK_SAMPLE, "CC-BY-SA-3.0", "train", adapters.data_science,
            note="the paper does not say how it chose: here by the question's tags"),
    DataSet("Doc2Code", _TRAIN, _NL2CODE, _ADAPTED, _DOC2CODE_TRAIN, RESEARCH_ONLY, "train", adapters.doc2code,
            note=_PROJECTS),
    DataSet("GlaiveCodeAssistantV2", _TRAIN, _QA, _ADAPTED, _GLAIVE, "Apache-2.0", "train", _GLAIVE_PAIRS),
    DataSet("HackerEarth", _TRAIN, _CODE2CODE, _ADAPTED, _DESCRIPTION2CODE, UNKNOWN, "train",
            adapters.solutions("hackerearth"), note=_NOT_OWNED),
    DataSet("LeetCodeP2S", _TRAIN, _NL2CODE, _ADAPTED, _LEETCODE, "MIT", "train", adapters.leetcode, fold=_FIT,
            note=_NO_SPLIT),
    DataSet("LeetCodeXLang", _TRAIN, _CODE2CODE, _ADAPTED, _LEETCODE, "MIT", "train", adapters.leetcode_across,
            fold=_FIT, note=_NO_SPLIT),
    DataSet("MBPP", _TRAIN, _NL2CODE, _ADAPTED, _MBPP, "CC-BY-4.0", "train", _MBPP_PAIRS),
    DataSet("MLQuestions", _TRAIN, _QA, _ADAPTED, _ML_QUESTIONS, "CC-BY-NC-SA-4.0", "dev", _ML_PAIRS,
            note="only dev and test pair questions with passages; train has unaligned texts"),
    DataSet("Spider", _TRAIN, _NL2CODE, _ADAPTED, _SPIDER, "CC-BY-SA-4.0", "train", _SPIDER_PAIRS),
    DataSet("StackExchangeBody", _TRAIN, _QA, _ADAPTED, _STACK_EXCHANGE, "CC-BY-SA-4.0", "train",
            adapters.stack_exchange("Body")),
    DataSet("StackExchangePost", _TRAIN, _QA, _ADAPTED, _STACK_EXCHANGE, "CC-BY-SA-4.0", "train",
            adapters.stack_exchange("Title", "Body")),
    DataSet("StackExchangeTitle", _TRAIN, _QA, _ADAPTED, _STACK_EXCHANGE, "CC-BY-SA-4.0", "train",
            adapters.stack_exchange("Title")),
    DataSet("SWE-Bench", _TRAIN, _NL2CODE, _ADAPTED, _SWE_BENCH, UNKNOWN, "train", _SWE_PAIRS, note=_PROJECTS),
    DataSet("WikiSQL", _TRAIN, _NL2CODE, _ADAPTED, _WIKI_SQL, "BSD-3-Clause", "train", adapters.wiki_sql),
    DataSet("CodeChefP2S", _TRAIN, _NL2CODE, _SYNTHETIC, _CODECHEF, UNKNOWN, "train", adapters.translated,
            fold=_FIT, note=_NOT_OWNED),
    DataSet("CodeChefS2S", _TRAIN, _CODE2CODE, _SYNTHETIC, _CODECHEF, UNKNOWN, "train",
            adapters.written("s2s"), fold=_FIT, note=_NOT_OWNED),
    DataSet("CodeChefXLang", _TRAIN, _CODE2CODE, _SYNTHETIC, _CODECHEF, UNKNOWN, "train",
            adapters.written("xlang"), fold=_FIT, note=_NOT_OWNED),
    DataSet("SyntheticDLTrans", _TRAIN, _CODE2CODE, _SYNTHETIC, _DL_TRANSLATIONS, UNKNOWN, "train",
            adapters.written(), note="each pair is under the licence of the code it was written from"),
    DataSet("CoSQA+", _TEST, _NL2CODE, _ADAPTED, _COSQA_PLUS, UNKNOWN, "test", adapters.cosqa_plus),
    DataSet("CoSQA", _TEST, _NL2CODE, _MTEB, _COSQA, "MIT", "test", adapters.retrieval("python"), average=True,
            note=_BY_MTEB),
    DataSet("MBPP", _TEST, _NL2CODE, _ADAPTED, _MBPP, "CC-BY-4.0", "test", _MBPP_PAIRS),
    DataSet("COIR-CodeSearchNet", _TEST, _CODE2NL, _MTEB, _COIR_CSN, "MIT", "test", adapters.retrieval(),
            average=True, note=_BY_MTEB),
    DataSet("CodeSearchNet", _TEST, _NL2CODE, _MTEB, _CSN_TEST, "MIT", "test", adapters.retrieval(), average=True),
    DataSet("Doc2Code", _TEST, _NL2CODE, _ADAPTED, _DOC2CODE_TEST, RESEARCH_ONLY, "test", adapters.doc2code,
            note=_PROJECTS),
    DataSet("SWE-Bench", _TEST, _NL2CODE, _ADAPTED, _SWE_BENCH, UNKNOWN, "test", _SWE_PAIRS, note=_PROJECTS),
    DataSet("CodeEditSearch", _TEST, _NL2CODE, _MTEB, _CODE_EDITS, "MIT", "train", adapters.code_edits, average=True,
            note="MTEB takes the first 1,000 edits of each of 13 languages"),
    DataSet("CommitPackFT", _TEST, _NL2CODE, _ADAPTED, _COMMITS, PER_RECORD, "train", adapters.commits,
            fold=_HELD_OUT, note=_COMMIT_NOTE),
    DataSet("AppsRetrieval", _TEST, _NL2CODE, _MTEB, _APPS, "MIT", "test", adapters.retrieval("python"), average=True,
            note=_BY_MTEB),
    DataSet("LeetCode", _TEST, _NL2CODE, _ADAPTED, _LEETCODE, "MIT", "train", adapters.leetcode, fold=_HELD_OUT,
            note=_NO_SPLIT),
    DataSet("CodeChef", _TEST, _NL2CODE, _SYNTHETIC, _CODECHEF, UNKNOWN, "train", adapters.translated,
            fold=_HELD_OUT, note=_NOT_OWNED),
    DataSet("SyntheticText2SQL", _TEST, _NL2CODE, _MTEB, _TEXT2SQL, "MIT", "test", adapters.retrieval("sql"),
            average=True, note=_BY_MTEB),
    DataSet("Spider", _TEST, _NL2CODE, _ADAPTED, _SPIDER, "CC-BY-SA-4.0", "validation", _SPIDER_PAIRS,
            note="its test split is not published on the hub"),
    DataSet("WikiSQL", _TEST, _NL2CODE, _ADAPTED, _WIKI_SQL, "BSD-3-Clause", "test", adapters.wiki_sql),
    DataSet("CodeFeedbackMT", _TEST, _QA, _MTEB, _FEEDBACK_MT, "MIT", "test", adapters.retrieval(), average=True,
            note=_BY_MTEB),
    DataSet("CodeFeedbackST", _TEST, _QA, _MTEB, _FEEDBACK_ST, "MIT", "test", adapters.retrieval(), average=True,
            note=_BY_MTEB),
    DataSet("StackOverflowQA", _TEST, _QA, _MTEB, _STACK_OVERFLOW_TEST, "MIT", "test", adapters.retrieval(),
            average=True, note=_BY_MTEB),
    DataSet("DS-1000", _TEST, _QA, _ADAPTED, _DS1000, "CC-BY-SA-4.0", "test", adapters.ds1000),
    DataSet("MLQuestions", _TEST, _QA, _ADAPTED, _ML_QUESTIONS, "CC-BY-NC-SA-4.0", "test", _ML_PAIRS),
    DataSet("CodeTransOceanContest", _TEST, _CODE2CODE, _MTEB, _CONTEST, "Apache-2.0", "test", adapters.retrieval(),
            average=True),
    DataSet("CodeTransOceanDL", _TEST, _CODE2CODE, _MTEB, _DL, "Apache-2.0", "test", adapters.retrieval("python"),
            average=True),
    DataSet("CodeChefXLang", _TEST, _CODE2CODE, _SYNTHETIC, _CODECHEF, UNKNOWN, "train",
            adapters.written("xlang"), fold=_HELD_OUT, note=_NOT_OWNED),
    DataSet("CodeSearchNetCC", _TEST, _COMPLETION, _MTEB, _CCR, "MIT", "test", adapters.retrieval(), average=True,
            note=_BY_MTEB),
    DataSet("HumanEval", _TEST, _NL2CODE, _ADAPTED, _HUMAN_EVAL, "MIT", "test", adapters.human_eval),
)
# fmt: on
"""Training sets, then benchmarks, in the order of the paper's tables."""


def find_set(name: str, use: Use | None = None) -> DataSet:
    """The set of that name in any case; of a training set and a benchmark of one name the former, if `use` is None.

    Raises InputError naming the nearest known ones.
    """
    named = [entry for entry in CATALOG if entry.name.lower() == name.lower() and use in (None, entry.use)]
    if named:
        return named[0]
    known = {entry.name.lower(): entry.name for entry in CATALOG if use in (None, entry.use)}
    near = ", ".join(known[key] for key in get_close_matches(name.lower(), known, n=3)) or "codekin data list"
    raise InputError(f"no {use.value if use else 'data'} set is called {name!r}; see {near}")


def select_sets(
    use: Use | None = None, task: Task | None = None, kind: Kind | None = None, licence: str | None = None
) -> list[DataSet]:
    """The sets that fit all that is given, training sets first."""
    return [
        entry
        for entry in CATALOG
        if use in (None, entry.use)
        and task in (None, entry.task)
        and kind in (None, entry.kind)
        and (licence is None or licence.lower() == entry.licence.lower())
    ]
