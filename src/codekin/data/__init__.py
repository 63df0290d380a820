"""Training data: pairs and their files, published data sets, mining, and the pinned corpus that is mined."""

from __future__ import annotations

from codekin.data.beir import JudgedSet, Retrieval, choose_split, retrievals, text_of
from codekin.data.catalog import find_set, select_sets
from codekin.data.chat import Endpoint, Usage
from codekin.data.cleaning import CleanReport, clean
from codekin.data.corpus import Corpus, FetchReport, Package, fetch, load_corpus
from codekin.data.leaks import benchmarks
from codekin.data.mining import MiningProgress, mine
from codekin.data.negatives import NegativesReport, mine_negatives
from codekin.data.pairs import Pair, read_pairs, write_pairs
from codekin.data.records import Files
from codekin.data.sampling import PairFiles, Position, Sampler, answer_labels
from codekin.data.sets import DataSet, Kind, Use
from codekin.data.synthesis import Family, SynthesisReport, synthesize
from codekin.data.trees import SourceTree

__all__ = [
    "CleanReport",
    "Corpus",
    "DataSet",
    "Endpoint",
    "Family",
    "FetchReport",
    "Files",
    "JudgedSet",
    "Kind",
    "MiningProgress",
    "NegativesReport",
    "Package",
    "Pair",
    "PairFiles",
    "Position",
    "Retrieval",
    "Sampler",
    "SourceTree",
    "SynthesisReport",
    "Usage",
    "Use",
    "answer_labels",
    "benchmarks",
    "choose_split",
    "clean",
    "fetch",
    "find_set",
    "load_corpus",
    "mine",
    "mine_negatives",
    "read_pairs",
    "retrievals",
    "select_sets",
    "synthesize",
    "text_of",
    "write_pairs",
]
