from __future__ import annotations

import pytest

from codekin.source import LANGUAGES, language_of
from codekin.source.grammars import GRAMMARS


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("src/a.py", "python"),
        ("A.PY", "python"),
        ("types/index.d.ts", "typescript"),
        ("a/b.tsx", "tsx"),
        ("x.h", "c"),
        ("x.hpp", "cpp"),
        ("Dockerfile", "dockerfile"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("GNUmakefile", "make"),
        ("Gemfile", "ruby"),
        (".bashrc", "bash"),
        ("README", "text"),
        ("README.md", "markdown"),
        ("LICENSE.txt", "text"),
        ("x.unheard-of", "text"),
        ("v1.2/notes", "text"),
        (".py", "text"),
        ("", "text"),
    ],
)
def test_by_name(path: str, language: str):
    assert language_of(path) == language


@pytest.mark.parametrize(
    ("head", "language"),
    [
        (b"#!/bin/sh\n", "bash"),
        (b"#!/usr/bin/env python3\n", "python"),
        (b"#!/usr/bin/python2.7 -u\n", "python"),
        (b"#! /usr/bin/env -S node --flag\n", "javascript"),
        (b"#!/usr/bin/env A=1 ruby\n", "ruby"),
        (b"#!/opt/perl\n", "perl"),
        (b"#!\n", "text"),
        (b"#!/bin/unheard-of\n", "text"),
        (b"plain", "text"),
    ],
)
def test_by_first_line(head: bytes, language: str):
    assert language_of("bin/tool", head) == language


def test_one_extension_two_languages():
    assert language_of("a.m", b"function r = f(x)\n") == "matlab"
    assert language_of("a.m", b"// c\n#import <Foo/Foo.h>\n") == "objc"


def test_names():
    assert set(GRAMMARS) < set(LANGUAGES)
    assert list(LANGUAGES) == sorted(set(LANGUAGES))
