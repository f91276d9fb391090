"""The report of a run: one HTML file that needs nothing beside it, to look at and to show."""

from emofeedback.runs.report.page import REPORT, render_report, write_report

__all__ = ["REPORT", "render_report", "write_report"]
