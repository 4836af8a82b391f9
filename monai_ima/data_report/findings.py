"""What ruins models for medical images, looked for in what is known of a data set."""

from __future__ import annotations

from monai_ima.data_report.image_findings import image_findings
from monai_ima.data_report.name_findings import name_findings
from monai_ima.data_report.patient_findings import patient_findings
from monai_ima.data_report.survey import Finding, Survey


def find_all(survey: Survey) -> list[Finding]:
    """Everything that is found, what is gravest first."""
    found = [*image_findings(survey), *name_findings(survey), *patient_findings(survey)]
    return sorted(found, key=lambda finding: ("problem", "warning", "note").index(finding.weight))
