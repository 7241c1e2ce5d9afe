"""HTML pages as a test sees them."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "img"}


class PageParser(HTMLParser):
    """Collect the elements and links of a page, and check that elements are nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
