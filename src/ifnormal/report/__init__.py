"""The report: a run folder as one self-contained HTML file."""

from ifnormal.report.report import write_report

__all__ = ["write_report"]
