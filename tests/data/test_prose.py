from codekin.data.prose import Example, Section, sections

_MARKDOWN = """\
Intro line.

# Getting started with caching #

Set up the cache with a time limit
like this:

```python
# not a heading
cache = Cache(ttl=60)
cache.start()
```

Or from the shell:
~~~ sh
codekin cache
~~~

Setext heading here
===================
Last text.

```
no language
```
"""

_RST = """\
====================
Talking to a server
====================

Open a connection and send::

    connection = connect()
    connection.send(b"x")

Details of retries
------------------

The client retries.

.. code-block:: c++
   :linenos:

   retry();

.. note:: not code

After it.
"""


def test_markdown():
    before, started, last = sections(_MARKDOWN, "markdown")
    assert before == Section("", "Intro line.")
    assert started.heading == "Getting started with caching"
    assert started.text.startswith("Set up the cache") and started.text.endswith("~~~")
    assert started.examples == [
        Example(
            "Set up the cache with a time limit\nlike this:",
            "# not a heading\ncache = Cache(ttl=60)\ncache.start()",
            "python",
        ),
        Example("Or from the shell:", "codekin cache", "bash"),
    ]
    assert last.heading == "Setext heading here"
    assert last.examples == [Example("Last text.", "no language", "")]


def test_restructured_text():
    _, server, retries = sections(_RST, "rst")
    assert server.heading == "Talking to a server"
    assert server.examples == [
        Example("Open a connection and send:", 'connection = connect()\nconnection.send(b"x")', "")
    ]
    assert retries.heading == "Details of retries"
    assert retries.examples == [Example("The client retries.", "retry();", "cpp")]
    assert retries.text.endswith("After it.")


def test_unclosed_fence_takes_the_rest_and_loses_nothing():
    (section,) = sections("Text of the intro.\n```go\nfunc f() {}\n# x", "markdown")
    assert section.examples == [Example("Text of the intro.", "func f() {}\n# x", "go")]


def test_empty_document():
    assert list(sections("", "rst")) == [Section("")]
