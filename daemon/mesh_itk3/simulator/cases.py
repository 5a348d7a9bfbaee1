"""Four invented stories, one for each Transfer of Care document. All text is ours; nobody in it exists. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mesh_itk3.simulator.clinical import Allergy, Contact, Diagnosis, Medication, Operation
from mesh_itk3.simulator.fhir import Rows
from mesh_itk3.simulator.people import Clinician

SECTION_CODES: Final[Mapping[str, str]] = {
    "Admission details": "886781000000108",
    "Allergies and adverse reactions": "886921000000105",
    "Assessment scales": "887141000000103",
    "Attendance details": "1077881000000105",
    "Clinical narrative": "1077901000000108",
    "Clinical summary": "887181000000106",
    "Contact for further information": "1077931000000102",
    "Diagnoses": "887161000000102",
    "Discharge details": "886811000000106",
    "Distribution list": "887261000000109",
    "GP practice": "886711000000101",
    "Information and advice given": "1052951000000105",
    "Investigation results": "1082101000000102",
    "Legal information": "886961000000102",
    "Medications and medical devices": "933361000000108",
    "Patient and carer concerns, expectations and wishes": "1052941000000107",
    "Patient demographics": "886731000000109",
    "Person completing record": "887231000000104",
    "Plan and requested actions": "887201000000105",
    "Presenting complaints or issues": "886891000000102",
    "Procedures": "887171000000109",
    "Safety alerts": "886931000000107",
    "Senior reviewing clinician": "1078901000000109",
    "Social context": "887051000000101",
}
"""Title and SNOMED CT code of the sections used here (Transfer of Care guides, page explore_headings)."""

MANDATORY: Final[Mapping[str, frozenset[str]]] = {
    "ITK003D": frozenset({"Allergies and adverse reactions", "Clinical summary", "Diagnoses"}),
    "ITK004D": frozenset({"Allergies and adverse reactions", "Clinical summary"}),
    "ITK005D": frozenset({
        "Allergies and adverse reactions", "Attendance details", "Clinical narrative", "Contact for further information",
        "Diagnoses", "Information and advice given", "Plan and requested actions", "Presenting complaints or issues",
        "Senior reviewing clinician",
    }),
    "ITK006D": frozenset({"Allergies and adverse reactions", "Attendance details", "Clinical summary"}),
}  # fmt: skip
MANDATORY_EVERYWHERE: Final = frozenset({"GP practice", "Patient demographics", "Person completing record"})


@dataclass(frozen=True, slots=True)
class Case:
    """One story: who wrote it, the encounter, the coded facts, and sections that are text only."""

    author: Clinician
    contact: Contact
    text: Mapping[str, Rows]
    allergies: tuple[Allergy, ...]
    diagnoses: tuple[Diagnosis, ...]
    medications: tuple[Medication, ...]
    procedures: tuple[Operation, ...] = ()


_CONSULTANT: Final = ("R0050", "Consultant")

INPATIENT: Final = Case(
    author=Clinician("Dr", "Amara", "Oyelaran", _CONSULTANT, "01632 960111"),
    contact=Contact(
        start="2025-03-04T18:20:00+00:00",
        end="2025-03-10T14:05:00+00:00",
        kind=("IMP", "inpatient encounter"),
        type=("24882007", "Medical consultation on hospital inpatient"),
        reason=("385093006", "Community acquired pneumonia"),
        is_admission=True,
    ),
    text={
        "Admission details": [
            ("Reason for admission", "Three days of fever, productive cough and confusion; oxygen saturation 88% on air."),
            ("Date/time of admission", "04-Mar-2025 18:20"),
        ],
        "Clinical summary": [
            ("Clinical summary", (
                "Right lower lobe pneumonia, CURB-65 score 3. Treated with intravenous then oral antibiotics for seven days.\n"
                "Acute kidney injury stage 1 on arrival (creatinine 168, usual 84), recovered to 92 with fluids.\n"
                "Ramipril was withheld because of the kidney injury and stays stopped until reviewed."
            )),
        ],
        "Discharge details": [
            ("Discharging consultant", "Dr Amara Oyelaran"),
            ("Discharging specialty/department", "General medicine, Ward 7"),
            ("Date/time of discharge", "10-Mar-2025 14:05"),
            ("Discharge destination", "Own home, with her daughter"),
        ],
        "Information and advice given": [
            ("Information and advice given", "Explained that tiredness may last for weeks; to seek help if breathless again."),
        ],
        "Plan and requested actions": [
            ("Actions for healthcare professionals", (
                "GP: please check urea and electrolytes in one week and restart ramipril 2.5mg if creatinine is below 100.\n"
                "GP: please request a chest X-ray in six weeks."
            )),
            ("Actions for patient or their carer", "To finish the amoxicillin course on 11 March."),
        ],
        "Safety alerts": [("Risks to self", "Fell twice in the month before admission; walking frame supplied.")],
        "Social context": [("Household composition", "Lives alone; her daughter visits daily. Ex-smoker, stopped 1990.")],
    },
    allergies=(Allergy("387170002", "Trimethoprim", "Widespread rash", "2009-05-19"),),
    diagnoses=(
        Diagnosis("385093006", "Community acquired pneumonia", "Right lower lobe on chest X-ray"),
        Diagnosis("14669001", "Acute kidney injury", "Stage 1, recovered"),
    ),
    medications=(
        Medication("323510009", "Amoxicillin 500mg capsules", "One capsule three times a day until 11 March", "Added",
                   "Community acquired pneumonia"),
        Medication("318590006", "Bisoprolol 5mg tablets", "One tablet once a day in the morning"),
        Medication("320000009", "Simvastatin 40mg tablets", "One tablet at night"),
        Medication("408050008", "Ramipril 2.5mg tablets", "Was one capsule once a day", "Stopped", "Acute kidney injury"),
    ),
    procedures=(Operation("399208008", "Plain chest X-ray", "Right lower lobe consolidation"),),
)  # fmt: skip

MENTAL_HEALTH: Final = Case(
    author=Clinician("Dr", "Tomasz", "Wren", _CONSULTANT, "01632 960122"),
    contact=Contact(
        start="2025-02-12T11:00:00+00:00",
        end="2025-03-10T10:30:00+00:00",
        kind=("IMP", "inpatient encounter"),
        type=("24882007", "Medical consultation on hospital inpatient"),
        reason=("310496002", "Moderate depression"),
        is_admission=True,
    ),
    text={
        "Admission details": [
            ("Reason for admission", "Worsening low mood with poor intake of food and fluids."),
            ("Legal Status on admission", "Informal"),
            ("Date/time of admission", "12-Feb-2025 11:00"),
        ],
        "Assessment scales": [("Assessment scale", "HoNOS total 17 on admission, 6 at discharge")],
        "Clinical summary": [
            ("Clinical summary", (
                "Moderate depressive episode after redundancy. Mood, sleep and appetite improved on an increased dose of "
                "sertraline together with ward activities and four sessions of psychology."
            )),
            ("Formulation", "Loss of role and of daily structure on a background of one earlier episode in 2011."),
        ],
        "Discharge details": [
            ("Discharging consultant", "Dr Tomasz Wren"),
            ("Date/time of discharge", "10-Mar-2025 10:30"),
            ("Legal Status on discharge", "Informal"),
        ],
        "Legal information": [("Consent relating to care", "Has capacity and agrees to this summary being shared.")],
        "Patient and carer concerns, expectations and wishes": [
            ("Concerns", "Would like to be told early if the dose is to change."),
        ],
        "Plan and requested actions": [
            ("Actions for healthcare professionals", "GP: please continue sertraline for at least six months, then review."),
            ("Actions for patient or their carer", "Crisis line card given; knows to ring day or night."),
            ("Care planning arrangements", "Community mental health nurse visits within 72 hours."),
        ],
    },
    allergies=(Allergy("716186003", "No known allergy", recorded="2025-02-12"),),
    diagnoses=(Diagnosis("310496002", "Moderate depression"),),
    medications=(
        Medication("321960002", "Sertraline 100mg tablets", "One tablet once a day", "Amended", "Moderate depression"),
        Medication("407847009", "Omeprazole 20mg gastro-resistant tablets", "One tablet before breakfast"),
    ),
    procedures=(Operation("493121000000105", "Assessment using health of the nation outcome scale"),),
)  # fmt: skip

EMERGENCY: Final = Case(
    author=Clinician("Dr", "Niamh", "Castellan", ("R0050", "Consultant"), "01632 960133"),
    contact=Contact(
        start="2025-03-10T16:42:00+00:00",
        end="2025-03-10T20:15:00+00:00",
        kind=("EMER", "emergency"),
        type=("4525004", "Emergency department patient visit"),
        reason=("263199001", "Fracture of distal end of radius"),
    ),
    text={
        "Attendance details": [("Date and time of contact", "10-Mar-2025 16:42")],
        "Clinical narrative": [
            ("Clinical narrative", (
                "Slipped on wet steps and landed on the outstretched left hand. Swelling and tenderness over the wrist, no "
                "wound, sensation and pulses intact.\nX-ray: undisplaced fracture of the distal radius. Backslab applied."
            )),
        ],
        "Contact for further information": [("Contact for further information", "Emergency department, 01632 960130")],
        "Discharge details": [
            ("Discharge status", "Treatment completed"),
            ("Date/time of discharge", "10-Mar-2025 20:15"),
            ("Discharge destination", "Home"),
        ],
        "Information and advice given": [
            ("Information and advice given", "Keep the arm raised, move the fingers; return if they turn pale or numb."),
        ],
        "Plan and requested actions": [
            ("Action", "Fracture clinic in one week (booked by us)."),
            ("Action", "GP: please consider a bone health assessment."),
        ],
        "Presenting complaints or issues": [("Presenting complaint or issue", "Injury of left wrist")],
        "Senior reviewing clinician": [("Name", "Dr Niamh Castellan")],
    },
    allergies=(Allergy("373270004", "Penicillin -class of antibiotic-", "Rash as a child", "1998-10-02"),),
    diagnoses=(Diagnosis("263199001", "Fracture of distal end of radius", "Left, undisplaced"),),
    medications=(
        Medication("322236009", "Paracetamol 500mg tablets", "Two tablets up to four times a day", "Added", "Pain"),
    ),
    procedures=(Operation(None, "Below-elbow backslab applied", "Left arm"),),  # as senders without a code write it
)  # fmt: skip

OUTPATIENT: Final = Case(
    author=Clinician("Dr", "Hamish", "Quillfeather", _CONSULTANT, "01632 960144"),
    contact=Contact(
        start="2025-03-10T09:10:00+00:00",
        end="2025-03-10T09:40:00+00:00",
        kind=("AMB", "ambulatory"),
        type=("163381000000105", "Outpatient Clinic Attendance"),
        reason=("49436004", "Atrial fibrillation"),
    ),
    text={
        "Attendance details": [
            ("Date and time of contact", "10-Mar-2025 09:10"),
            ("Responsible healthcare professional", "Dr Hamish Quillfeather"),
            ("Seen by", "Dr Hamish Quillfeather"),
            ("Outcome of outpatient attendance", "Appointment to be made at a later date"),
        ],
        "Clinical summary": [
            ("Clinical summary", (
                "Reviewed for palpitations. Atrial fibrillation at 96 per minute on today's tracing, blood pressure 134/78, "
                "no signs of heart failure.\nWe agreed on rate control and anticoagulation; the risks were discussed."
            )),
        ],
        "Information and advice given": [
            ("Information and advice given", "Leaflet on atrial fibrillation given; knows the signs of stroke."),
        ],
        "Plan and requested actions": [
            ("Actions for healthcare professionals", "GP: please check full blood count and renal function every six months."),
            ("Investigations requested", "Echocardiogram within six weeks (booked by us)."),
        ],
    },
    allergies=(Allergy("409137002", "No known drug allergy", recorded="2025-03-10"),),
    diagnoses=(Diagnosis("49436004", "Atrial fibrillation"),),
    medications=(
        Medication("318590006", "Bisoprolol 5mg tablets", "One tablet once a day", "Added", "Atrial fibrillation"),
        Medication(None, "Apixaban 5mg tablets", "One tablet twice a day", "Added", "Atrial fibrillation"),
        Medication("319781007", "Aspirin 75mg gastro-resistant tablets", "Was one a day", "Stopped", "Replaced by apixaban"),
    ),
    procedures=(Operation("29303009", "Electrocardiographic procedure", "Atrial fibrillation"),),
)  # fmt: skip

CASES: Final[Mapping[str, Case]] = {
    "ITK003D": INPATIENT,
    "ITK004D": MENTAL_HEALTH,
    "ITK005D": EMERGENCY,
    "ITK006D": OUTPATIENT,
}
