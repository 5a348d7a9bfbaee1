"""What a letter's reader is warned of: words for `metadata.json`, each with its sentence for `letter.html`. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SENTENCES: Final[dict[str, str]] = {
    # the patient
    "nhs_number_missing": "The document has no NHS number for the patient.",
    "nhs_number_invalid": "The NHS number is not a valid one (its check digit or length is wrong).",
    "nhs_number_not_verified": "The sender has not marked the NHS number as traced and verified.",
    "patient_name_missing": "The document has no family name for the patient.",
    "date_of_birth_missing": "The document has no date of birth for the patient.",
    # the document
    "document_is_replacement": "This document replaces an earlier one, which is to be kept for audit only.",
    "document_not_final": "The author has not marked this document as final.",
    "document_restricted": "The author has marked this document as confidential.",
    "author_missing": "The document does not say who wrote it.",
    "custodian_missing": "The document does not say which organisation is responsible for it.",
    # the text
    "section_text_missing": "A section has no text.",
    "active_content_removed": "Active content (a script, a form or an embedded object) was removed from the text.",
    "image_removed": "A picture was removed from the text.",
    "link_removed": "A link was turned into plain text.",
    "narrative_repeated": "A section could not be shown as it was laid out; its plain text is repeated below it.",
    # the attachments
    "attachment_unreadable": "An attachment could not be read.",
    "attachment_type_missing": "The sender did not say what type an attachment is.",
    "attachment_type_unknown": "An attachment is of a type that cannot be shown safely; it is filed as .bin.",
    "attachment_type_mismatch": "An attachment's content is not of the type that the sender named.",
    "attachment_filed_as_text": "An attachment could run a script when it is opened; it is filed as plain text.",
    "attachment_has_macros": "An attachment may contain macros.",
}


@dataclass(frozen=True, slots=True)
class Caution:
    """One thing that a reader should know. Never holds text of the message."""

    word: str
    where: str = ""
    """A section's number or a file's name, ours."""

    def __str__(self) -> str:
        return f"{self.word}: {self.where}" if self.where else self.word

    @property
    def sentence(self) -> str:
        sentence = SENTENCES.get(self.word, self.word.replace("_", " ").capitalize() + ".")
        return f"{sentence} ({self.where})" if self.where else sentence
