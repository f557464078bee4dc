"""Configuration of the nbgrader course: run nbgrader in this folder."""

import sys
from pathlib import Path

import dpo_edu

sys.path.insert(0, str(Path(dpo_edu.__file__).parents[1]))  # for tools.judged

c = get_config()  # noqa: F821 (nbgrader provides it)

c.CourseDirectory.course_id = "dpo-edu"
c.CourseDirectory.source_directory = "source"
c.CourseDirectory.release_directory = "student"
# What students see in place of a solution: it runs, and the check below says "not done yet".
c.ClearSolutions.text_stub = "*Your answer goes here.*"
c.ClearSolutions.code_stub = {"python": "pass  # your answer goes here"}
# Hand-ins run in processes of their own; only plain data come back to where they are judged.
c.Autograde.autograde_preprocessors = [
    "tools.judged.Judged",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Judged.course = str(Path(__file__).parent)
# A cell or a test that takes longer than so many seconds is lost, and so is what a whole hand-in
# does not do in so many.
c.Judged.step, c.Judged.whole = 60.0, 300.0
