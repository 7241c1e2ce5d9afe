"""Multipart bodies as RFC 2046 allows them, in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.web.server.multipart import MultipartParser, header_parameters


def parsed(body, boundary=b"b", size=1 << 20):
    """Return headers and content of all parts of a body that arrives in pieces of a size."""
    parser, parts = MultipartParser(boundary), []
    for start in range(0, len(body), size):
        for event in parser.feed(body[start : start + size]):
            if isinstance(event, dict):
                parts.append([event, b""])
            elif event is not None:
                parts[-1][1] += event
    assert parser.ended
    return parts


HEAD = b"--b\r\nA: x\r\n\r\n"
BODIES = {
    "plain": HEAD + b"content\r\n--b--\r\n",
    "preamble, as mail has it": b"This is a message in MIME format.\r\n"
    + HEAD
    + b"content\r\n--b--",
    "preamble with a boundary inside a line": b"x --b\r\n--bc\r\n" + HEAD + b"content\r\n--b--",
    "line ends before the first boundary": b"\r\n\r\n" + HEAD + b"content\r\n--b--",
    "epilogue with a boundary": HEAD + b"content\r\n--b--\r\n\r\n--b\r\nA: y\r\n\r\n",
    "padding after boundaries": b"--b \t \r\nA: x\r\n\r\ncontent\r\n--b--  \r\n",
    "LF for line ends": b"pre\n--b\nA: x\n\ncontent\n--b--\n",
    "folded header": b"--b\r\nA:\r\n x\r\n\r\ncontent\r\n--b--",
    "space around a name": b"--b\r\na :x \r\n\r\ncontent\r\n--b--",
}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("body", BODIES)
def test_body_is_parsed_as_the_rfc_says(body, size):
    """A program sent a preamble, as mail programs do, and got a parser's message."""
    assert parsed(BODIES[body], size=size) == [[{"": "", "a": "x"}, b"content"]]


PIECES = [b"\r", b"\n", b"\r\n", b"--", b"b", b"\r\n--", b"\r\n--bc", b"\n --b", b" ", b"\0", b"a"]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.sampled_from(PIECES)).map(b"".join), min_size=1), st.integers(1, 9))
def test_content_arrives_as_it_was(contents, size):
    """Audio that looks like a boundary for a while is not changed."""
    boundary = b"--x y'()+_,./:=?"
    body = b"".join(b"--%b\r\n\r\n%b\r\n" % (boundary, content) for content in contents)
    parts = parsed(b"%b--%b--" % (body, boundary), boundary, size)
    assert [content for _, content in parts] == contents


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('form-data; name="file"; filename="a.wav"', "a.wav"),
        ("FORM-DATA; NAME=file; FILENAME=a.wav", "a.wav"),
        ('form-data; filename="a;b=\\"c\\".wav"; name=file', 'a;b="c".wav'),
        ("form-data; name=file; filename*=UTF-8''%e2%82%ac%20x.wav", "€ x.wav"),
        ("form-data; name=file; filename*=utf-8''%c3%bc; filename=\"=?utf-8?Q?x?=\"", "ü"),
        ("form-data; name=file; filename*0=a; filename*1=b.wav", "ab.wav"),
        ("form-data; name=file; filename*=unknown''%fc", "ü"),
        ('form-data; name=file; filename=""', ""),
        ("form-data; name=file", None),
    ],
)
def test_names_of_files_are_read_as_clients_write_them(header, name):
    """An older program sent only `filename*`, and "had no file name"."""
    kind, parameters = header_parameters(header)
    assert (kind, parameters["name"], parameters.get("filename")) == ("form-data", "file", name)


@pytest.mark.parametrize(
    ("boundary", "body", "message"),
    [
        (b"", b"", "boundary has 0 characters"),
        (b"x" * 1000, b"", "boundary has 1000 characters"),
        (b"b", b"--b\r\nA: " + b"x" * 20_000, "headers of a part are too long"),
    ],
)
def test_bodies_that_are_not_multipart_are_errors(boundary, body, message):
    with pytest.raises(ValueError, match=message):
        list(MultipartParser(boundary).feed(body))
    with pytest.raises(ValueError, match="one of its headers is damaged"):
        header_parameters(f"form-data; filename*{6000 * '1'}=a")
