"""nbgrader's step that runs a hand-in, done by `tools.judge`; nbgrader_config.py puts it in."""

from functools import cache
from pathlib import Path

from nbformat import NotebookNode, v4
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float, Unicode

from tools import judge, notebooks


@cache  # one for all hand-ins of a run: what it imports takes longer than a hand-in
def the_judge(step: float, whole: float) -> judge.Judge:
    """A judge who stays."""
    return judge.Judge(step=step, whole=whole)


class Judged(NbGraderPreprocessor):
    """Writes under each cell of a hand-in what it printed, and under each test its sentence.

    A test without an error earns its points, so each has one until it was judged to be right.
    """

    step = Float(judge.STEP_SECONDS, help="seconds for a cell or a test").tag(config=True)
    whole = Float(judge.HAND_IN_SECONDS, help="seconds for a hand-in").tag(config=True)
    course = Unicode(help="the folder of the course").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Judge a hand-in."""
        if not judge.is_confining():
            self.log.warning(judge.UNCONFINED)
        about = resources["nbgrader"]
        folder = Path(self.course) / "source" / about["assignment"]
        source = notebooks.read(folder / f"{about['notebook']}.ipynb")
        tests = {name: test for name, (test, _) in judge.tests_of(source).items()}
        steps = judge.steps_of(nb, tests)
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = [failed("it was not judged.")] if judge.test_name(cell) else []
        results = the_judge(self.step, self.whole).results(folder, steps)
        for place, result in results.items():
            step, cell = steps[place], nb.cells[place]
            if isinstance(result, judge.Ran):
                cell.outputs = [printed(result.text)] if result.text else []
                cell.outputs += [failed(result.error)] if result.error else []
            else:
                cell.outputs = [failed(result) if result else printed(f"{step.task}: right.\n")]
        return nb, resources


def printed(text: str) -> NotebookNode:
    """Text as a cell prints it."""
    return v4.new_output("stream", name="stdout", text=text)


def failed(sentence: str) -> NotebookNode:
    """A sentence as an error shows it."""
    return v4.new_output("error", ename="Incorrect", evalue=sentence, traceback=[sentence])
