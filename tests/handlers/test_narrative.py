"""Hostile and odd narratives: nothing runs, nothing is fetched, no word is lost."""

import re

import pytest
from lxml import etree

from mesh_itk3_handlers.narrative import checked, sanitise, visible_length

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
SAFE_TAG = re.compile(
    r"</?(?:table|caption|colgroup|col|thead|tbody|tfoot|tr|th|td|p|div|br|hr|pre|blockquote|ul|ol|li|dl|dt|dd|b|i|u|s|em|strong"
    r"|sub|sup|small|code|span|h[3-6]|ins|del)"
    r'(?: (?:width|colspan|rowspan|span|start)="[0-9]{1,4}%?"| class="kept")*>'
)


def clean(content: str, *, namespace: str = XHTML):
    return sanitise(etree.fromstring(f"<div {namespace}>{content}</div>"))


HOSTILE = {
    "script": ("<script>alert(1)</script>safe", "safe"),
    "script with namespace prefix": ('<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>safe', "safe"),
    "script of any namespace": ('<x:script xmlns:x="urn:x">alert(1)</x:script>safe', "safe"),
    "SCRIPT in capitals": ("<SCRIPT>alert(1)</SCRIPT>safe", "safe"),
    "style block": ("<style>p{background:url(http://evil.example/x)}</style>safe", "safe"),
    "empty style swallows nothing": ("<style/>safe", "safe"),
    "empty textarea swallows nothing": ("<textarea/>safe", "safe"),
    "empty title swallows nothing": ("<title/>safe", "safe"),
    "plaintext": ("<plaintext/>safe", "safe"),
    "noscript": ("<noscript>safe</noscript>", "safe"),
    "event attribute": ('<p onclick="alert(1)" onmouseover="x">safe</p>', "safe"),
    "javascript link": ('<a href="javascript:alert(1)">safe</a>', "safe"),
    "javascript link with blanks": ('<a href="java&#10;script:alert(1)">safe</a>', "safe"),
    "data link": ('<a href="data:text/html,x">safe</a>', "safe"),
    "remote image": ('<img src="http://evil.example/track.gif" alt="scan"/>', "[scan]"),
    "image with handler": ('<img src="x" onerror="alert(1)" alt="scan"/>', "[scan]"),
    "markup in an alt text": ('<img alt="&lt;script&gt;"/>', "[<script>]"),
    "remote frame": ('<iframe src="http://evil.example">safe</iframe>', "safe"),
    "object and embed": ('<object data="http://evil.example"><embed src="http://evil.example"/>safe</object>', "safe"),
    "meta refresh": ('<meta http-equiv="refresh" content="0;url=http://evil.example"/>safe', "safe"),
    "base": ('<base href="http://evil.example"/>safe', "safe"),
    "link": ('<link rel="stylesheet" href="http://evil.example"/>safe', "safe"),
    "form": ('<form action="http://evil.example"><input name="x" value="safe"/></form>', "[safe]"),
    "svg": ('<svg xmlns="http://www.w3.org/2000/svg"><script>1</script><text>safe</text></svg>', "safe"),
    "math": ('<math xmlns="http://www.w3.org/1998/Math/MathML"><mtext>safe</mtext></math>', "safe"),
    "svg style breakout": ("<svg><style>&lt;img src=x onerror=alert(1)&gt;</style></svg>safe", "safe"),
    "escaped markup stays text": ("&lt;script&gt;alert(1)&lt;/script&gt;", "<script>alert(1)</script>"),
    "escaped twice stays escaped": ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
    "cdata": ("<![CDATA[<script>alert(1)</script>]]>", "<script>alert(1)</script>"),
    "style attribute": ('<p style="background:url(http://evil.example/x);position:fixed">safe</p>', "safe"),
    "hidden text is shown": ('<p style="display:none" hidden="hidden">safe</p>', "safe"),
    "class and id": ('<p class="x" id="section-1">safe</p>', "safe"),
    "attribute breakout": ('<td width="1&quot; onload=&quot;alert(1)">safe</td>', "safe"),
    "background attribute": ('<table background="http://evil.example/x"><tr><td>safe</td></tr></table>', "safe"),
    "comment": ("<!-- <script>alert(1)</script> -->safe", "safe"),
    "processing instruction": ("<?xml-stylesheet href='http://evil.example'?>safe", "safe"),
    "template": ("<template><p>x</p></template>safe", "safe"),
    "audio and video": ('<video src="http://evil.example"><p>safe</p></video>', "safe"),
    "body and html": ("<html><head><title>safe</title></head><body onload='x'>words</body></html>", "safewords"),
    "unknown element": ("<blink>safe</blink>", "safe"),
}


@pytest.mark.parametrize(("content", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_nothing_of_a_hostile_narrative_but_its_words_is_left(content, expected):
    narrative = clean(content)
    assert SAFE_TAG.sub("", narrative.html).replace("&lt;", "").replace("&gt;", "").find("<") == -1
    assert "evil" not in narrative.html
    assert "".join(narrative.text.split()) == "".join(expected.split())
    assert visible_length(narrative.html) == len("".join(expected.split()))


KEPT = {
    "table": '<table width="100%"><tbody><tr><th colspan="2">a</th></tr><tr><td rowspan="2">b</td></tr></tbody></table>',
    "list": "<ul><li>a</li></ul><ol><li>b</li></ol>",
    "emphasis": "<p><b>a</b><i>b</i><strong>c</strong><em>d</em><sub>e</sub><sup>f</sup><u>g</u><s>h</s></p>",
    "break": "a<br>b",
    "preformatted": "<pre>a   b\n\tc</pre>",
}


@pytest.mark.parametrize("markup", KEPT.values(), ids=KEPT)
def test_plain_markup_is_kept_as_it_is(markup):
    assert clean(markup.replace("<br>", "<br/>")).html == f"<div>{markup}</div>"


@pytest.mark.parametrize("namespace", ["", XHTML, 'xmlns="http://hl7.org/fhir"', 'xmlns="relative/uri"'])
def test_a_div_of_any_namespace_or_none_is_read(namespace):
    assert clean("<p>words</p>", namespace=namespace).html == "<div><p>words</p></div>"


def test_prefixed_xhtml_keeps_its_layout():
    div = etree.fromstring(f"<h:div {XHTML.replace('xmlns', 'xmlns:h')}><h:p>a</h:p><h:br/></h:div>")
    assert sanitise(div).html == "<div><p>a</p><br></div>"


def test_word_html_keeps_its_words_and_paragraphs():
    narrative = clean(
        '<p class="MsoNormal" style="mso-margin:0"><o:p xmlns:o="urn:schemas-microsoft-com:office:office">One</o:p></p>'
        '<font color="red" face="x">Two</font><center>Three</center><center>Four</center>'
    )
    assert narrative.html == "<div><p></p><p>One</p><p></p>Two<div>Three</div><div>Four</div></div>"
    assert narrative.text == "One\nTwo\nThree\nFour"


def test_struck_through_words_stay_struck_through():
    # Without it "stop aspirin" and its deletion would read alike.
    assert clean('<p style="color:red; text-decoration : line-through">stop</p>').html == "<div><p><s>stop</s></p></div>"
    assert clean("<strike>stop</strike>").html == "<div><s>stop</s></div>"


def test_preformatted_by_style_keeps_its_line_breaks():
    assert '<span class="kept">a\n  b</span>' in clean('<p style="white-space:pre-wrap">a\n  b</p>').html


def test_a_senders_headings_stand_below_the_letters_own():
    assert clean("<h1>a</h1><h2>b</h2><h6>c</h6>").html == "<div><h3>a</h3><h3>b</h3><h6>c</h6></div>"


@pytest.mark.parametrize(
    "content", ["", " \n\t", "&#160;", "<p/>", "<table><tr><td/></tr></table>", "<br/>", "<script>x</script>"]
)
def test_a_narrative_without_a_word_is_empty(content):
    assert clean(content).html == ""


def test_no_narrative_is_empty():
    assert sanitise(None).html == ""


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        ("<script>x</script>a", "active_content_removed"),
        ("<iframe/>a", "active_content_removed"),
        ('<img src="x" alt="a"/>', "image_removed"),
        ('<a href="http://x.example">a</a>', "link_removed"),
    ],
)
def test_what_is_left_out_is_noted(content, warning):
    assert clean(content).warnings == (warning,)


@pytest.mark.parametrize("content", ["<p>a</p>", '<a name="x">a</a>', "<table><tr><td>a</td></tr></table>"])
def test_what_is_kept_needs_no_note(content):
    assert clean(content).warnings == ()


def test_words_that_stand_loose_in_a_table_are_moved_but_not_lost():
    narrative = clean("<table>one<tr>two<td>three</td></tr></table>")
    assert visible_length(narrative.html) == len("onetwothree")
    assert narrative.warnings == ()


def test_text_that_cleaning_lost_is_repeated_plainly_with_a_warning():
    narrative = checked("<p>Ramipril</p>", "Ramipril\nClopidogrel <75mg>", ())
    assert narrative.html == "<p>Ramipril</p>\n<pre>Ramipril\nClopidogrel &lt;75mg&gt;</pre>"
    assert narrative.warnings == ("narrative_repeated",)


def test_nothing_is_repeated_where_nothing_was_lost():
    assert checked("<p>a &amp; b</p>", "a & b", ()).html == "<p>a &amp; b</p>"


def test_rows_and_blocks_are_lines_of_the_plain_text():
    narrative = clean("<table><tr><th>Name</th><td>Aspirin\n 75mg</td></tr><tr><td>x</td></tr></table><p>y</p>z<br/>w")
    assert narrative.text == "Name Aspirin 75mg\nx\ny\nz\nw"


def test_a_narrative_as_deep_as_the_envelope_allows_is_read():
    assert clean("<div>" * 195 + "deep" + "</div>" * 195).text == "deep"
