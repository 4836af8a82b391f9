"""Heartbeats: from PhysioNet's records or Kaggle's files to training, validation and test."""

from monai_ima.data.ecg.beats import CLASSES, CutBeats, cut_beats
from monai_ima.data.ecg.datalist import load_ecg
from monai_ima.data.ecg.dataset import EcgBeats, load_ecg_beats, write_ecg_beats
from monai_ima.data.ecg.kaggle import load_kaggle_csv
from monai_ima.data.ecg.records import Record, find_records, read_record
from monai_ima.data.ecg.split import BeatSplit, split_beats

__all__ = [
    "CLASSES",
    "BeatSplit",
    "CutBeats",
    "EcgBeats",
    "Record",
    "cut_beats",
    "find_records",
    "load_ecg",
    "load_ecg_beats",
    "load_kaggle_csv",
    "read_record",
    "split_beats",
    "write_ecg_beats",
]
