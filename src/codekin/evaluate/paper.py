"""What the paper measured: arXiv 2508.21290, Table 2 and the pooling ablation of Table 5, nDCG@10 in percent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Benchmarks that are averaged together."""

    name: str
    benchmarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A published model: its figures from 0 to 1 by benchmark, and its parameters where they are public."""

    name: str
    short: str
    """As the paper's tables head it."""
    figures: dict[str, float]
    parameters: int | None = None


# A star: counted by MTEB(Code). JCE-0.5B, JCE-1.5B, JV4, Qw3, VC3, GE, then JCE-0.5B with each pooling.
_TABLE = """
CoSQA+                 15.42  16.38  13.29  15.63  13.57  16.44  15.42  15.36  15.55
CoSQA*                 39.25  35.10  29.99  37.75  34.11  51.94  39.25  37.13  38.58
MBPP                   89.01  90.13  89.93  88.29  94.68  93.46  89.01  87.01  88.57
COIR-CodeSearchNet*    85.73  86.45  84.03  84.78  89.35  81.06  85.73  85.01  85.50
CodeSearchNet*         90.68  91.38  84.84  90.77  93.92  91.38  90.68  90.48  90.65
Doc2Code               95.98  96.34  91.46  94.77  97.18  96.54  95.98  95.91  95.94
SWE-Bench              83.00  86.33  81.00  76.12  87.02  87.40  83.00  83.88  83.31
CodeEditSearch*        83.25  84.43  72.75  64.21  80.30  81.69  83.25  82.94  83.09
CommitPackFT           63.00  65.06  45.93  38.50  59.24  61.18  63.00  62.32  63.10
AppsRetrieval*         84.17  86.63  78.32  75.22  93.77  95.70  84.17  83.26  84.43
LeetCode               57.86  59.075 59.11  58.23  58.89  58.40  57.86  58.08  58.17
CodeChef               94.03  96.89  87.98  84.29  99.18  99.55  94.03  92.08  95.03
SyntheticText2SQL*     72.80  73.91  76.98  66.91  63.39  59.24  72.80  72.60  72.93
Spider                 81.65  82.18  81.18  81.45  81.99  81.15  81.65  81.99  81.57
WikiSQL                98.31  98.02  96.06  96.04  95.71  90.94  98.31  93.50  97.85
CodeFeedbackMT*        89.56  89.91  70.07  90.79  93.47  64.95  89.56  86.09  88.95
CodeFeedbackST*        85.73  86.18  85.47  86.43  90.56  85.70  85.73  84.55  85.23
StackOverflowQA*       91.04  92.37  93.80  89.96  96.90  96.02  91.04  90.46  90.58
DS-1000                59.77  62.88  64.11  61.19  69.49  70.10  59.77  58.91  60.20
MLQuestions            81.05  77.46  54.71  60.52  66.87  62.95  81.05  79.78  81.07
CodeTransOceanContest* 90.37  92.54  92.23  86.28  93.49  92.59  90.37  86.85  90.70
CodeTransOceanDL*      41.69  37.319 46.29  31.78  38.72  32.84  41.69  38.17  40.58
CodeChefXLang          99.70  99.44  92.82  90.94  99.13  99.79  99.70  99.31  99.21
CodeSearchNetCC*       90.41  91.12  83.69  91.41  90.09  84.69  90.41  88.65  89.72
HumanEval              96.77  98.41  96.74  94.84  99.77  98.90  96.77  95.78  96.35
"""

_ROWS = [line.split() for line in _TABLE.strip().splitlines()]


def _column(place: int, name: str, short: str, parameters: int | None = None) -> Column:
    figures = {row[0].rstrip("*"): float(row[1 + place]) / 100 for row in _ROWS}
    return Column(name, short, figures, parameters)


# Parameters as the models' pages (JCE) and MTEB 2.26 (the others) state them; of the services none are published.
MODELS = (
    _column(0, "JCE-0.5B", "JCE-0.5B", 494_000_000),
    _column(1, "JCE-1.5B", "JCE-1.5B", 1_540_000_000),
    _column(2, "jina-embeddings-v4", "JV4", 3_934_695_552),
    _column(3, "Qwen3-Embedding-0.6B", "Qw3", 595_776_512),
    _column(4, "voyage-code-3", "VC3"),
    _column(5, "gemini-embedding-001", "GE"),
)
"""Table 2's columns."""

POOLINGS = tuple(
    _column(6 + place, f"JCE {pooling}", f"JCE {pooling}", 494_000_000)
    for place, pooling in enumerate(("last", "mean", "latent"))
)
"""Table 5's columns: JCE-0.5B with each pooling."""

OVERALL = Group("Overall", tuple(row[0].rstrip("*") for row in _ROWS))
MTEB_CODE = Group("MTEB Code", tuple(row[0].rstrip("*") for row in _ROWS if row[0].endswith("*")))
COIR = Group(
    "CoIR",
    tuple(name for name in MTEB_CODE.benchmarks if name not in {"CodeSearchNet", "CodeEditSearch"}),
)
GROUPS = (OVERALL, MTEB_CODE, COIR)
"""What has an average of its own, widest first; each holds the next."""
