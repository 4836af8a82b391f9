"""What evaluations have left in their folders: read, and compared with one another."""

from monai_ima.evaluation.comparison import (
    Comparison,
    NormComparison,
    compare,
    evaluation_names,
)
from monai_ima.evaluation.comparison_report import write_comparison
from monai_ima.evaluation.folder import (
    EvaluatedCurve,
    Evaluation,
    read_evaluation,
    read_report,
    read_samples,
)

__all__ = [
    "Comparison",
    "EvaluatedCurve",
    "Evaluation",
    "NormComparison",
    "compare",
    "evaluation_names",
    "read_evaluation",
    "read_report",
    "read_samples",
    "write_comparison",
]
