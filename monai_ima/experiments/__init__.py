"""Experiments: methods trained and evaluated on one data set, and what became of them in one table."""

from monai_ima.experiments.data_sets import DATA_SETS, DataSet, split_method
from monai_ima.experiments.reproduction import reproduce
from monai_ima.experiments.request import Request
from monai_ima.experiments.result_tables import results_figure, tables
from monai_ima.experiments.results import evaluated, read_results

__all__ = [
    "DATA_SETS",
    "DataSet",
    "Request",
    "evaluated",
    "read_results",
    "reproduce",
    "results_figure",
    "split_method",
    "tables",
]
