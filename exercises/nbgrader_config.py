"""Configuration of the nbgrader course: run nbgrader in this folder."""

c = get_config()  # noqa: F821 (nbgrader provides it)

c.CourseDirectory.course_id = "dpo-edu"
c.CourseDirectory.source_directory = "source"
c.CourseDirectory.release_directory = "student"
# What students see in place of a solution: it runs, and the check below says "not done yet".
c.ClearSolutions.code_stub = {"python": "pass  # your answer goes here"}
# A cell that never ends is interrupted after so many seconds and loses its points.
c.Execute.timeout = 60
# Files are collected under downloaded/<assignment>/archive as <student>_<notebook>.ipynb.
c.FileNameCollectorPlugin.named_regexp = r".*?(?P<student_id>[A-Za-z0-9-]+)_(?P<file_id>\w+)\.ipynb"
