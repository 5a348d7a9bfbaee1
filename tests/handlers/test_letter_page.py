"""What the reader of letter.html sees."""

import base64
import html
import json
import re

import pytest

from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3_handlers.filing import LetterSettings
from mesh_itk3_handlers.narrative import visible_length
from mesh_itk3_handlers.render import css_string
from mesh_itk3_handlers.transfer_of_care import TransferOfCare
from mesh_itk3_handlers.wording import date_words
from support.letters_builder import a_context, a_message, binary, coded, entry, patient, reference, section

PDF = base64.b64encode(b"%PDF-1.4 words").decode()


@pytest.fixture
def page_of(tmp_path):
    def file(**built):
        TransferOfCare(LetterSettings(output=tmp_path)).handle(a_message(**built), a_context(files=LetterFiles()))
        (page,) = tmp_path.glob("*/*/letter.html")
        return page.read_text("utf-8")

    return file


def words_of(page: str) -> str:
    body = page[page.index("<body>") :]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", body)).split())


def test_author_custodian_date_care_setting_and_type_are_shown_although_no_section_names_them(page_of):
    words = words_of(page_of(title="Cardiology discharge"))
    for shown in (
        "Cardiology discharge",
        "Discharge summary",
        "Written by Dr Asha Rowan",
        "Example General Hospital (RX1)",
        "Date written 14-Jan-2026 10:00 (+00:00)",
        "Care setting Cardiology service",
        "For action",
    ):
        assert shown in words


def test_the_patient_banner_has_name_birth_gender_and_number(page_of):
    words = words_of(page_of())
    assert "TESTCASE, Robin (Mx)" in words
    assert "Born 09-Jan-1957" in words
    assert "NHS number 999 000 0018" in words


@pytest.mark.parametrize(
    ("number", "status", "doubt"),
    [("9990000019", "01", "not valid"), ("9990000018", "02", "not verified"), ("9990000018", None, "not verified")],
)
def test_a_doubtful_number_is_marked(page_of, number, status, doubt):
    assert f'<span class="doubt">{doubt}</span>' in page_of(patient_entry=patient(nhs_number=number, status=status))


def test_every_section_is_shown_in_the_authors_order_nested_unknown_and_untitled_ones_too(page_of):
    sections = (
        section("Zeta", "<p>first words</p>", code="999")
        + section(None, "<p>second words</p>")
        + section(
            "Outer", None, nested=section("Inner", "<p>third words</p>", nested=section("Innermost", "<p>fourth words</p>"))
        )
        + section("Empty", None)
        + section("Alpha", "<p>fifth words</p>")
    )
    words = words_of(page_of(sections=sections))
    main = words[words.index("first words") - 10 :]
    shown = ["Zeta", "first words", "Section without a title", "second words", "Outer", "Inner", "third words", "Innermost"]
    shown += ["fourth words", "Empty", "(no text in this section)", "Alpha", "fifth words"]
    places = [main.index(each) for each in shown]
    assert places == sorted(places)


def test_a_section_of_text_without_a_div_loses_no_word(page_of):
    bare = '<p xmlns="http://www.w3.org/1999/xhtml">bare words</p>'
    text = f'<section><title value="Bare"/><text><status value="additional"/>{bare}</text></section>'
    assert "bare words" in words_of(page_of(sections=text))


def test_a_second_div_is_shown_too(page_of):
    two = '<div xmlns="http://www.w3.org/1999/xhtml">one div</div><div xmlns="http://www.w3.org/1999/xhtml">other div</div>'
    words = words_of(page_of(sections=f"<section><text>{two}</text></section>"))
    assert "one div" in words
    assert "other div" in words


def test_a_section_without_text_shows_what_it_refers_to(page_of):
    observation = entry("Observation", "o", coded("code", "1240761000000102", "Suspected COVID-19"))
    sections = section("Observation", None, entries=("o",)) + section("Report", None, entries=("b",))
    words = words_of(page_of(sections=sections, entries=observation + binary("b", PDF)))
    assert "Observation: Suspected COVID-19" in words
    assert "Attachment 1" in words


def test_the_compositions_own_text_is_shown(page_of):
    more = '<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">A summary line</div></text>'
    assert "A summary line" in words_of(page_of(composition_more=more))


def test_admission_and_discharge_are_shown_from_the_encounter(page_of):
    encounter = entry(
        "Encounter",
        "e",
        '<class><code value="IMP"/></class><period><start value="2026-01-10T09:00:00Z"/><end value="2026-01-14"/></period>',
    )
    words = words_of(page_of(composition_more=reference("encounter", "e"), entries=encounter))
    assert "Admitted 10-Jan-2026 09:00 (UTC)" in words
    assert "Discharged 14-Jan-2026" in words


def test_recipients_are_shown_from_the_distribution_list(page_of):
    person = entry("Practitioner", "p", '<name><family value="Jones"/><given value="Angela"/></name>')
    sections = section() + section("Distribution list", "<p>x</p>", code="887261000000109", entries=("p",))
    assert "Copies to Angela Jones" in words_of(page_of(sections=sections, entries=person))


def test_warnings_stand_above_the_text(page_of):
    words = words_of(
        page_of(sections=section("A", "<p>body words</p><script>x</script>"), patient_entry=patient(nhs_number=None))
    )
    assert words.index("no NHS number") < words.index("body words")
    assert words.index("(section 1)") < words.index("body words")


def test_attachments_are_listed_with_their_size(page_of):
    words = words_of(page_of(entries=binary("b", PDF) + binary("c", "!!!")))
    assert "attachments/01.pdf PDF, 1 kB" in words
    assert "could not be read" in words


def test_nothing_remote_and_nothing_that_runs_is_in_the_page(page_of):
    hostile = (
        '<p onclick="x"><script>evil()</script><img src="http://evil.example/x"/><a href="http://evil.example">link</a></p>'
    )
    page = page_of(sections=section("A", hostile), title="<script>evil()</script>")
    assert "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">" in page
    assert "<script" not in page
    assert "evil.example" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert set(re.findall(r'(?:src|href|action|data|srcset)="([^"]*)"', page)) <= {"#section-1"}


INJECTION = "</style></title><script>evil()</script>\"'}{;<!--"


def test_a_hostile_name_stays_text_in_banner_title_and_print_footer(page_of):
    page = page_of(patient_entry=patient(family=INJECTION), sections=section(INJECTION, "<p>x</p>"))
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert page.count("</title>") == 1
    style = page[page.index("<style>") : page.index("</style>")]
    footing = re.search(r'@bottom-left \{ content: "([^"]*)" \}', style)
    assert footing is not None
    assert re.fullmatch(r"(?:\w| |\\[0-9a-f]+ )*", footing[1])


def test_css_strings_escape_everything_but_letters_digits_and_blanks():
    assert css_string('a"b\\c\nd</é 1') == "a\\22 b\\5c c\\a d\\3c \\2f é 1"


def test_the_page_is_one_document_with_language_and_landmarks(page_of):
    page = page_of(sections=section() * 5)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en-GB">')
    for landmark in ("<header>", "<nav ", "<main>", "<footer>"):
        assert page.count(landmark) == 1
    assert page.count("<h1>") == 1
    assert len(re.findall(r'id="section-\d"', page)) == 5


def test_the_plan_is_set_apart(page_of):
    page = page_of(sections=section("Plan and requested actions", "<p>x</p>", code="887201000000105") + section())
    assert page.count('<section class="part action"') == 1


def test_text_of_a_large_letter_is_there_to_the_last_character(page_of):
    text = "".join(f"<tr><th>Row {n}</th><td>value {n} &lt; {n + 1}</td></tr>" for n in range(500))
    page = page_of(sections=section("Results", f"<table>{text}</table>"))
    shown = re.search(r'<div class="narrative">(.*?)</section>', page, re.DOTALL)
    assert shown is not None
    assert visible_length(shown[1]) == visible_length(text)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2015-02-17T10:00:00+00:00", "17-Feb-2015 10:00 (+00:00)"),
        ("2023-08-15T10:40:53.3713512+01:00", "15-Aug-2023 10:40 (+01:00)"),
        ("2015-02-17T10:00:00Z", "17-Feb-2015 10:00 (UTC)"),
        ("2015-02-17T10:00:00", "17-Feb-2015 10:00"),
        ("2015-02-17 12:00", "17-Feb-2015 12:00"),
        ("2015-02-17", "17-Feb-2015"),
        ("2015-02", "Feb-2015"),
        ("1957", "1957"),
        ("2015-13-01", "01-13-2015"),
        ("soon", "soon"),
        ("", ""),
        (None, ""),
    ],
)
def test_dates_are_shown_as_they_were_written(written, shown):
    assert date_words(written) == shown


def test_sections_nested_as_deep_as_the_envelope_allows_are_shown(page_of):
    nested = ""
    for _ in range(185):
        nested = f'<section><title value="Deep"/>{nested}</section>'
    page = page_of(sections=nested + section("A", "<p>last words</p>"))
    assert page.count(">Deep</h") == 185
    assert "last words" in page


def test_a_json_message_gives_the_same_letter_and_is_kept_as_json(tmp_path):
    def resource(type_, id_, **fields):
        return {"fullUrl": f"urn:uuid:{id_}", "resource": {"resourceType": type_, "id": id_, **fields}}

    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Seen&#160;and <b>well</b>.<br/></p></div>'
    document = {
        "resourceType": "Bundle",
        "type": "document",
        "entry": [
            resource(
                "Composition",
                "c",
                title="Consultation report",
                subject={"reference": "urn:uuid:p"},
                section=[{"title": "Summary", "text": {"status": "generated", "div": div}}],
            ),
            resource("Patient", "p", name=[{"family": "Testcase", "given": ["Robin"]}]),
            resource("Binary", "b", contentType="application/pdf", content=PDF),
        ],
    }
    outer = {"resourceType": "Bundle", "type": "message", "entry": [resource("MessageHeader", "h"), {"resource": document}]}
    raw = json.dumps(outer).encode()
    TransferOfCare(LetterSettings(output=tmp_path)).handle(a_message(raw), a_context())
    (place,) = tmp_path.glob("*/*")
    assert (place / "message.json").read_bytes() == raw
    assert "<p>Seen\N{NO-BREAK SPACE}and <b>well</b>.<br></p>" in (place / "letter.html").read_text("utf-8").replace(
        "&nbsp;", "\xa0"
    )
    assert "TESTCASE, Robin" in (place / "letter.html").read_text("utf-8")
    assert (place / "attachments" / "01.pdf").read_bytes() == b"%PDF-1.4 words"
