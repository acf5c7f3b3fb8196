"""What a browser would see of a report."""

from html.parser import HTMLParser

import bench_results as made

from fastgan.benchmarks import report

VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a browser would see: elements, their attributes, ids, the text; every element must be closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.words, self.sections = [], [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for key, value in attributes if key == "id"]
        if tag == "section":
            self.sections.append(dict(attributes)["id"])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def some(*rows, **more):
    """The page of these rows alone."""
    return Page(report.made(made.results(*rows) | more))
