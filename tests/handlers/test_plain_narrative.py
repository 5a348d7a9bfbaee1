"""What is recognised as plain is given exactly as cleaning would give it; everything else is cleaned."""

import os
import random
import time
from pathlib import Path

import pytest
from lxml import etree

from mesh_itk3_handlers.narrative import Narrative, cleaned, sanitise
from mesh_itk3_handlers.plain_narrative import read_plain

EXAMPLES = os.environ.get("ITK3_EXAMPLES", "")
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
WORDS = [
    "a", " b  c ", "\n", "\t", "", "&amp;", "&lt;b&gt;", "&amp;lt;", "&amp;nbsp;", "\xa0", "\u2003x", "\x7f", "\x85", "\u2028",
    "\ufdd0", "\ufeff", "&#13;", "\"'", "é", "\U0001d4b3", "\u200b",
]  # fmt: skip
IN_LINE = ["b", "i", "u", "em", "strong", "sub", "sup"]
ANYTHING = ["div", "p", "tr", "td", "table", "span", "ul", "li", "a", "pre", "thead", "script", "style", "textarea", "svg", "x"]
CELL_ATTRIBUTES = [
    "",
    "",
    ' colspan="2"',
    ' width="50%"',
    ' rowspan="x"',
    ' class="q"',
    ' style="font-weight:bold"',
    ' onclick="x"',
]


class Sender:
    """Writes narratives: most of them plain, some with one thing where it should not be."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, *makers) -> str:
        return "".join(self.random.choice(makers)() for _ in range(self.random.randint(0, 3)))

    def element(self, name: str, content: str, attributes: str = "") -> str:
        if self.random.random() < 0.01:
            name = self.random.choice(ANYTHING)
        return f"<{name}{attributes}>{content}</{name}>"

    def words(self) -> str:
        return "".join(self.random.choices(WORDS, k=self.random.randint(0, 3)))

    def space(self) -> str:
        return self.random.choice(["", " ", "\n "]) if self.random.random() < 0.98 else self.words()

    def spaced(self, maker) -> str:
        return self.space() + "".join(maker() + self.space() for _ in range(self.random.randint(0, 3)))

    def in_line(self) -> str:
        return self.some(self.words, lambda: "<br/>", lambda: self.element(self.random.choice(IN_LINE), self.words()))

    def paragraph(self) -> str:
        return self.element("p", self.in_line())

    def items(self) -> str:
        kind = self.random.choice(["ul", "ol"])
        return self.element(kind, self.spaced(lambda: self.element("li", self.some(self.in_line, self.paragraph))))

    def cell(self) -> str:
        content = self.some(self.in_line, self.paragraph, self.items)
        return self.element(self.random.choice(["td", "th"]), content, self.random.choice(CELL_ATTRIBUTES))

    def table(self) -> str:
        body = self.random.choice(["tbody", "thead", "tfoot"])
        rows = self.element(body, self.spaced(lambda: self.element("tr", self.spaced(self.cell))))
        return self.element("table", self.space() + rows, self.random.choice(["", ' width="100%"', ' border="1"']))

    def narrative(self) -> str:
        div = f"<div {XHTML}>{self.some(self.in_line, self.paragraph, self.items, self.table)}</div>"
        return self.random.choice([div, f'<text><status value="generated"/>{self.space()}{div}\n</text>'])


def parsed(content: str):
    return etree.fromstring(f"<div {XHTML}>{content}</div>")


def test_what_is_plain_is_given_as_cleaning_gives_it():
    sender, plain = Sender(seed=20260115), 0
    for _ in range(6_000):
        narrative = etree.fromstring(sender.narrative())
        read = read_plain(narrative)
        if read is not None:
            plain += 1
            assert Narrative(*read, ()) == cleaned(narrative)
    assert plain > 1_000


@pytest.mark.parametrize(
    "content",
    [
        "<table><tbody><tr><td>a</td></tr></tbody></table>",
        '<table width="100%"><thead><tr><th colspan="2">a</th></tr></thead><tbody><tr><td/></tr></tbody></table>',
        "a<br/>b<p>c <b>d</b></p>",
        "<ul><li>a</li><li><p>b</p></li></ul>",
        "a &amp; b &lt; c",
    ],
)
def test_what_most_systems_write_is_plain(content):
    assert read_plain(parsed(content)) is not None


@pytest.mark.parametrize(
    "content",
    [
        "<script>x</script>", "<p onclick='x'>a</p>", "<p style='color:red'>a</p>", "<a href='x'>a</a>", "<img alt='a'/>",
        "<x:p xmlns:x='http://www.w3.org/1999/xhtml'>a</x:p>", "<p xmlns='urn:x'>a</p>", "<P>a</P>", "<table>a</table>",
        "<table><tr><td>a</td></tr></table>", "<table><tbody><tr>a<td/></tr></tbody></table>", "<p><p>a</p></p>",
        "<pre>a</pre>", "<b><p>a</p></b>", "<li>a</li>", "<td width='1&quot; onload=&quot;x'>a</td>",
        "<!-- a -->", "<?a b?>", "a&#13;b",
        "<table width='&lt;script&gt;'><tbody><tr><td>a</td></tr></tbody></table>", "<svg/>", "<style/>", "<textarea/>",
    ],
)  # fmt: skip
def test_what_is_not_wholly_of_the_known_shape_is_cleaned(content):
    assert read_plain(parsed(content)) is None
    assert sanitise(parsed(content)) == cleaned(parsed(content))


@pytest.mark.parametrize("content", ["<p>a</p>" * 100_000, "a &amp; " * 100_000, "<ul><li><p>a</p></li></ul>" * 50_000])
def test_a_long_narrative_that_fails_at_its_end_costs_one_pass(content):
    narrative = parsed(content + "<x/>")
    began = time.thread_time()
    assert read_plain(narrative) is None
    assert time.thread_time() - began < 2


@pytest.mark.examples
@pytest.mark.skipif(not EXAMPLES, reason="ITK3_EXAMPLES names no folder of public samples")
def test_the_narratives_of_the_public_samples_are_given_as_cleaning_gives_them():
    found = [read for path in Path(EXAMPLES).rglob("*.xml") for read in plain_narratives_of(path)]
    assert len(found) > 100


def plain_narratives_of(path: Path):
    parser = etree.XMLParser(remove_comments=True, remove_pis=True, recover=True)
    for text in etree.parse(path, parser).getroot().iter("{http://hl7.org/fhir}text"):
        read = read_plain(text) if len(text) else None
        if read is not None:
            assert Narrative(*read, ()) == cleaned(text)
            yield read
