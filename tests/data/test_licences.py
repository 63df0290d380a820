import pytest

from codekin.data.licences import licence_of

MIT = (
    "MIT License\n\nPermission is hereby granted, free of charge, to any person\n"
    "The above copyright notice shall be included in all copies"
)
APACHE = (
    "                                 Apache License\n                           Version 2.0, January 2004\n"
)
BSD = "Copyright (c) X\nRedistribution and use in source and binary forms, with or without modification"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"LICENSE": MIT}, "MIT"),
        ({"LICENCE.txt": APACHE, "setup.py": ""}, "Apache-2.0"),
        ({"COPYING": "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007"}, "GPL-3.0"),
        ({"LICENSE": BSD + " ... Neither the name of the X nor"}, "BSD-3-Clause"),
        ({"LICENSE": BSD}, "BSD-2-Clause"),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "Apache-2.0 OR MIT"),
        ({"LICENSE": MIT, "LICENSE.third-party": APACHE}, "MIT"),
        ({"LICENSE": "SPDX-License-Identifier: MIT OR 0BSD"}, "MIT OR 0BSD"),
        ({"package.json": '{"name": "x", "license": "ISC"}'}, "ISC"),
        ({"Cargo.toml": '[package]\nname = "x"\nlicense = "MIT/Apache-2.0"\n'}, "MIT OR Apache-2.0"),
        ({"pyproject.toml": '[project]\nlicense = {text = "MIT"}\n'}, "MIT"),
        ({"PKG-INFO": "Name: x\nLicense: BSD-3-Clause\n"}, "BSD-3-Clause"),
        ({"x.gemspec": 'Gem::Specification.new do |s|\n  s.license = "MIT"\nend'}, "MIT"),
        (
            {"LICENSE": "All rights reserved.", "package.json": '{"license": "SEE LICENSE IN x; y"}'},
            "unknown",
        ),
        ({}, "unknown"),
    ],
)
def test_licence_of(files: dict[str, str], expected: str):
    assert licence_of(files, files.get) == expected
