"""Exercises that check themselves: one module an assignment, one `Task` a question.

A notebook shows ``task.check(answer)``, which prints one sentence; the grader runs
``task.grade(answer)``, which raises it. Neither changes the answer nor trusts the notebook.
"""
