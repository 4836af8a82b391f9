"""Evaluations whose figures nobody looks at: drawing them takes most of their seconds."""


def leave_undrawn(monkeypatch):
    """Leave the report and the events empty."""
    module = "monai_ima.handlers.evaluation_files"
    monkeypatch.setattr(f"{module}.html_report", lambda *_, **__: "")
    monkeypatch.setattr(f"{module}._write_events", lambda *_: None)
