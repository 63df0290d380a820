import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.data.filters import (
    clean_prose,
    fingerprint,
    has_secret,
    held_out_names,
    is_query,
    is_source_path,
    is_trainable,
    summary,
)

HELD_OUT = ("pallets/click", "psf/requests", "nlohmann/json", "fmtlib/fmt", "JamesNK/Newtonsoft.Json")


@pytest.mark.parametrize(
    ("documentation", "expected"),
    [
        ("Return the mean.\n\nLonger text.", "Return the mean."),
        ("Return the\nmean of `values`.\n\n:param values: numbers", "Return the mean of values."),
        ("Open a file.\n\nArgs:\n    path: where", "Open a file."),
        ("Open a file.\nArgs:\n    path: where", "Open a file."),
        ("Compute it.\n\nParameters\n----------\nx : int", "Compute it."),
        (
            "Returns a {@link java.util.List list} of {@code int}s.\n@param x the x\n",
            "Returns a list of ints.",
        ),
        ("@brief Computes the CRC of a buffer.\n@param n length", "Computes the CRC of a buffer."),
        ("\\brief Sets the \\a width of the pen.\n\\param w width", "Sets the width of the pen."),
        (
            '<summary>\nGets the <see cref="T:System.Uri"/> of the page.\n</summary>\n<param name="x">x</param>',
            "Gets the System.Uri of the page.",
        ),
        ("Sends a ping, see [the docs](https://example.org/a_(b)).", "Sends a ping, see the docs."),
        ("See :class:`~a.b.C` and :func:`run <a.run>` for details.", "See a.b.C and run for details."),
        ("Formats a L<DateTime|http://x> with C<strftime>.", "Formats a DateTime with strftime."),
        ("Sorts the slice in place.\n\n# Examples\n\n```\nsort()\n```", "Sorts the slice in place."),
        ("Parses it.\n```js\nparse()\n```", "Parses it."),
        ("Public: Duplicate some text.\n\ntext - The text", "Duplicate some text."),
        ("Gets bytes as a byte[].", "Gets bytes as a byte[]."),
        ("Supports:\n- one\n- two", "Supports"),
        ("@param x nothing else", ""),
        ("", ""),
    ],
)
def test_summary(documentation: str, expected: str):
    assert summary(documentation) == expected


def test_summary_of_a_long_paragraph_ends_at_a_sentence():
    sentence = "This sentence has exactly eight words in it. "
    assert summary(sentence * 10) == (sentence * 5).strip()
    assert summary("word " * 60 + "end. Next one.") == "word " * 60 + "end."


@given(st.text())
def test_clean_prose_is_one_trimmed_line(text: str):
    cleaned = clean_prose(text)
    assert cleaned == " ".join(cleaned.split())


@pytest.mark.parametrize(
    "text",
    [
        "Parse JSON file",
        "Returns true if the node is a leaf",
        "Connects to the server & retries on failure.",
        "The café's opening hours",
        "Sees whether the les of the boat fit in the car",
    ],
)
def test_queries(text: str):
    assert is_query(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Parses JSON",
        "TODO: write this later on",
        "See also the other function",
        "{@inheritDoc} from the parent class",
        "Copyright 2020 The Authors of this",
        "(non-Javadoc) see java.lang.Object",
        "if (x == 0) { return y[0]; }",
        "eslint disable next line no console",
        "Renvoie la liste des utilisateurs pour le groupe",
        "Gibt die Liste der Benutzer und ihre Namen",
        "返回用户列表 of the user list",
        "Uses the key AKIAABCDEFGHIJKLMNOP for access",
        "word " * 201,
    ],
)
def test_not_queries(text: str):
    assert not is_query(text)


@pytest.mark.parametrize(
    "path",
    [
        "django-5.1/django/db/models/query.py",
        "package/src/index.ts",
        "a/README.md",
        "x/docs/guide.rst",
        "lib/json.py",
    ],
)
def test_source_paths(path: str):
    assert is_source_path(path, HELD_OUT)


@pytest.mark.parametrize(
    "path",
    [
        "pip/_vendor/urllib3/util.py",
        "third_party/zlib/inflate.c",
        "a/click/core.py",
        "a/click-8.1.0/src/core.py",
        "include/nlohmann/detail/x.h",
        "include/fmt/format.h",
        "single_include/json.hpp",
        "lib/Newtonsoft.Json/JsonReader.cs",
        "tests/helpers.py",
        "src/test_views.py",
        "src/FooTest.java",
        "pkg/server_test.go",
        "src/app.spec.ts",
        "index.d.ts",
        "jquery.min.js",
        "api_pb2.py",
        "CHANGELOG.md",
        "LICENSE.md",
        "data.json",
        "logo.svg",
        ".github/tool.py",
    ],
)
def test_paths_left_out(path: str):
    assert not is_source_path(path, HELD_OUT)


def test_held_out_names_cover_the_ecosystems():
    names = held_out_names(HELD_OUT)
    assert {
        "click",
        "requests",
        "fmt",
        "python-click",
        "nlohmann",
        "newtonsoft.json",
        "newtonsoft-json",
    } <= names
    assert names.isdisjoint({"werkzeug", "json"})


@pytest.mark.parametrize(
    ("head", "fit"),
    [
        ("# Permission is hereby granted, free of charge", True),
        ("// This program is free software under the GNU General Public License", False),
        ("# SPDX-License-Identifier: LGPL-2.1-or-later", False),
        ("/* This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0. */", False),
        ("// Code generated by protoc-gen-go. DO NOT EDIT.", False),
        ("# This file was automatically generated by SWIG", False),
        ("-----BEGIN RSA PRIVATE KEY-----", False),
        ("var a=function(){" + "x();" * 200 + "}", False),
    ],
)
def test_trainable_files(head: str, fit: bool):
    assert is_trainable(head + "\nint main(void) { return 0; }\n") is fit


def test_private_key_anywhere_makes_a_file_unfit():
    assert not is_trainable("x = 1\n" * 5000 + "-----BEGIN EC PRIVATE KEY-----")


@pytest.mark.parametrize(
    "secret",
    ["AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9, "xoxb-1234567890-abc", "-----BEGIN PRIVATE KEY-----"],
)
def test_secrets_are_seen(secret: str):
    assert has_secret(f'token = "{secret}"')
    assert not has_secret(f'token = "{secret[:6]}"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('db_password = "hunter2!x"', True),
        ("'apiKey': 'a1b2c3d4e5f6'", True),
        ('client_secret => "s3cr3tvalue"', True),
        ("url = postgres://admin:hunter22@db.example.org/x", True),
        ("sk-proj-" + "a1B2c3D4" * 5, True),
        ("eyJhbGciOiJIUzI1NiIsInR5cCI6.eyJzdWIiOiIxMjM0NTY3ODkwIiwi.SflKxwRJSMeKKF2QT4fwpM", True),
        ('password = "changeme"', False),  # no digit: a placeholder
        ('password = os.environ["PASSWORD1"]', False),
        ('token = f"{kind}{number1}abcdef"', False),
        ('key = "level9number"', False),
        ("http://user:password@example.org", False),
        ("the task-1234567890123456789012345678901234567890", False),
    ],
)
def test_assigned_secrets(text: str, expected: bool):
    assert has_secret(text) is expected


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_fingerprint_ignores_case_and_space(text: str):
    spaced = "\n ".join(text)
    assert fingerprint(spaced) == fingerprint(text)
    assert fingerprint(text + "x") != fingerprint(text)
