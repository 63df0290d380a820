"""Which language a file is written in: from its name and, where that does not tell, its first bytes."""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """The blank-separated words of `text`: how the tables of this package write sets of names."""
    return frozenset(text.split())


_EXTENSIONS = {
    "python": "py pyi pyw pyx pxd bzl star gyp wsgi",
    "javascript": "js mjs cjs jsx es6",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "java": "java",
    "c": "c h",
    "cpp": "cc cpp cxx c++ hh hpp hxx h++ inl ipp tpp ino cu cuh",
    "csharp": "cs csx",
    "go": "go",
    "rust": "rs",
    "ruby": "rb rake gemspec ru podspec",
    "php": "php phtml php5 php7 php8",
    "kotlin": "kt kts",
    "swift": "swift",
    "scala": "scala sc sbt",
    "haskell": "hs lhs hsc",
    "lua": "lua luau rockspec",
    "elixir": "ex exs",
    "zig": "zig zon",
    "bash": "sh bash zsh ksh bats ebuild",
    "sql": "sql ddl psql pgsql",
    "r": "r",
    "perl": "pl pm t psgi",
    "matlab": "m",
    "html": "html htm xhtml jinja jinja2 j2 njk hbs mustache",
    "css": "css",
    "markdown": "md markdown mdx mdown mkd qmd rmd",
    "rst": "rst rest",
    "text": "txt text adoc asciidoc org textile pod rdoc",
    "json": "json jsonc json5 geojson webmanifest ipynb",
    "yaml": "yaml yml",
    "toml": "toml",
    "asm": "s asm nasm",
    "clojure": "clj cljs cljc edn",
    "cmake": "cmake",
    "coffeescript": "coffee",
    "commonlisp": "lisp lsp cl",
    "crystal": "cr",
    "cython": "pxi",
    "d": "d",
    "dart": "dart",
    "eex": "eex heex leex",
    "elm": "elm",
    "emacslisp": "el",
    "erb": "erb",
    "erlang": "erl hrl",
    "fish": "fish",
    "fortran": "f f77 f90 f95 f03 f08 for",
    "fsharp": "fs fsi fsx",
    "glsl": "glsl vert frag comp hlsl metal wgsl",
    "gleam": "gleam",
    "graphql": "graphql gql",
    "groovy": "groovy gradle",
    "haml": "haml slim pug jade",
    "hcl": "hcl tf tfvars",
    "ini": "ini cfg conf properties editorconfig",
    "julia": "jl",
    "less": "less",
    "liquid": "liquid",
    "make": "mk mak",
    "nim": "nim nims",
    "nix": "nix",
    "objc": "mm",
    "ocaml": "ml mli",
    "pascal": "pas pp dpr lpr",
    "powershell": "ps1 psm1 psd1",
    "prisma": "prisma",
    "proto": "proto",
    "racket": "rkt",
    "scheme": "scm ss sld",
    "scss": "scss sass",
    "solidity": "sol",
    "svelte": "svelte",
    "tcl": "tcl",
    "tex": "tex sty cls bib",
    "thrift": "thrift",
    "verilog": "v sv svh vh",
    "vhdl": "vhd vhdl",
    "vim": "vim",
    "vue": "vue",
    "xml": "xml xsd xsl xslt plist csproj vbproj fsproj props targets xaml",
}
_LANGUAGE_BY_EXTENSION = {
    extension: language for language, extensions in _EXTENSIONS.items() for extension in extensions.split()
}

_LANGUAGE_BY_NAME = {
    "brewfile": "ruby",
    "build": "python",
    "build.bazel": "python",
    "cmakelists.txt": "cmake",
    "containerfile": "dockerfile",
    "dockerfile": "dockerfile",
    "gemfile": "ruby",
    "gnumakefile": "make",
    "guardfile": "ruby",
    "jenkinsfile": "groovy",
    "justfile": "make",
    "makefile": "make",
    "meson.build": "python",
    "podfile": "ruby",
    "rakefile": "ruby",
    "sconstruct": "python",
    "vagrantfile": "ruby",
    "workspace": "python",
    ".bash_profile": "bash",
    ".bashrc": "bash",
    ".profile": "bash",
    ".vimrc": "vim",
    ".zshrc": "bash",
}

_LANGUAGE_BY_INTERPRETER = {
    "ash": "bash",
    "bash": "bash",
    "bun": "javascript",
    "dash": "bash",
    "deno": "typescript",
    "elixir": "elixir",
    "escript": "erlang",
    "fish": "fish",
    "groovy": "groovy",
    "julia": "julia",
    "ksh": "bash",
    "lua": "lua",
    "luajit": "lua",
    "make": "make",
    "node": "javascript",
    "perl": "perl",
    "php": "php",
    "pwsh": "powershell",
    "python": "python",
    "rscript": "r",
    "ruby": "ruby",
    "runghc": "haskell",
    "runhaskell": "haskell",
    "scala": "scala",
    "sh": "bash",
    "swift": "swift",
    "tclsh": "tcl",
    "zsh": "bash",
}

LANGUAGES: tuple[str, ...] = tuple(
    sorted({*_EXTENSIONS, *_LANGUAGE_BY_NAME.values(), *_LANGUAGE_BY_INTERPRETER.values()})
)
"""Every name that `language_of` can return."""

_SHEBANG = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S+\s+)*(?:\S*/)?)?([A-Za-z]+)")
_OBJECTIVE_C = re.compile(
    rb"^\s*(?:#import|#include|#pragma|@interface|@implementation|@protocol|@class|@import)", re.M
)


def language_of(path: str, head: bytes = b"") -> str:
    """The language of the file at `path`, one of `LANGUAGES`; "text" where nothing tells.

    `head` is the beginning of the file, if it is at hand: it decides between languages that share an
    extension and reads the `#!` line of a script without one (see `needs_head`).
    """
    name = path[path.rfind("/") + 1 :].lower()
    if language := _LANGUAGE_BY_NAME.get(name):
        return language
    stem, dot, extension = name.rpartition(".")
    if dot and stem:
        if extension == "m":
            return "objc" if _OBJECTIVE_C.search(head) else "matlab"
        if language := _LANGUAGE_BY_EXTENSION.get(extension):
            return language
    if name.startswith(("dockerfile", "containerfile")):
        return "dockerfile"
    if head.startswith(b"#!") and (match := _SHEBANG.match(head)):
        return _LANGUAGE_BY_INTERPRETER.get(match[1].decode().lower(), "text")
    return "text"


def needs_head(path: str) -> bool:
    """Whether the name alone leaves the language open, so that the file's beginning is worth a read."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return (dot <= 0 and name.lower() not in _LANGUAGE_BY_NAME) or name[dot:] == ".m"
