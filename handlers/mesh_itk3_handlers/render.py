"""A letter as one HTML page: self-contained, nothing remote, nothing that runs. PURE but for reading its own templates."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from mesh_itk3.handler import Message
from mesh_itk3.itk3.document import Document
from mesh_itk3_handlers.attachments import FiledAttachment
from mesh_itk3_handlers.letter import Letter

if TYPE_CHECKING:
    from jinja2 import Template

_PACKAGE: Final = "mesh_itk3_handlers"


def letter_html(
    letter: Letter, attachments: tuple[FiledAttachment, ...], particulars: tuple[tuple[str, str | None], ...]
) -> bytes:
    """The page, UTF-8. `particulars` are labels and values for its foot."""
    template, style = _template()
    page = template.render(
        letter=letter, attachments=attachments, particulars=particulars, style=style, footing=_footing(letter)
    )
    return page.encode("utf-8")


def particulars_of(message: Message, document: Document, patient_match: str) -> tuple[tuple[str, str | None], ...]:
    """What an administrator looks a letter up by."""
    return (
        ("Received", message.received_at.strftime("%d-%b-%Y %H:%M UTC")),
        ("Patient match", patient_match.replace("_", " ")),
        ("Workflow", message.workflow_id),
        ("MESH message", message.mesh_message_id),
        ("Message", message.header.message_header_id),
        ("Document", (document.document_id or "").rpartition("|")[2]),
        ("Replaces", document.replaces),
    )


def _footing(letter: Letter) -> str:
    # On every printed page: a page that comes loose must still say whose it is.
    born = f"Born {letter.patient.date_of_birth}" if letter.patient.date_of_birth else ""
    number = f"NHS number {letter.patient.nhs_number}" if letter.patient.nhs_number else ""
    return " \N{MIDDLE DOT} ".join(words for words in (letter.patient.name, born, number) if words)


def css_string(text: str) -> str:
    """Text for the inside of a CSS string: everything that is not a letter, digit or blank as an escape, for neither
    CSS's nor HTML's quoting would do alone.
    """
    return "".join(char if char.isalnum() or char == " " else f"\\{ord(char):x} " for char in text)


@cache
def _template() -> tuple[Template, str]:
    # Imported here: every command loads the handlers, and most render nothing.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["css_string"] = css_string
    style = resources.files(_PACKAGE).joinpath("templates", "letter.css").read_text("utf-8")
    return environment.get_template("letter.html.j2"), style
