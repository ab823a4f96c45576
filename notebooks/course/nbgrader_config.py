"""nbgrader's settings in this folder: `nbgrader generate_assignment`, `nbgrader autograde`, ..."""

import os
import sys
import warnings
from pathlib import Path

from cure_study.course.release import STUB

c = get_config()  # noqa: F821

# nbgrader calls `alembic`, which is beside this Python, even where its folder is not on the path.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# nbgrader with SQLAlchemy 2: harmless, and printed for every class.
warnings.filterwarnings("ignore", message="Object of type <Submitted", category=Warning)

c.CourseDirectory.course_id = "cure"
c.CourseDirectory.root = str(Path(__file__).parent)
# The .py beside each notebook holds its solutions: it must not be handed out.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "*.py"]
# What was handed in is read by `Submission` whatever its state, and refused only with a reason.
c.Autograde.pre_convert_hook = "cure_study.course.submission.expect_lesson"
c.Autograde.exporter_class = "cure_study.course.submission.Submission"
c.Autograde.sanitize_preprocessors = [
    "cure_study.course.submission.Restore",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# Each submission in a separate process and folder, in place of nbgrader's Execute.
c.Autograde.autograde_preprocessors = [
    "cure_study.course.grading.IsolatedExecute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# The reason of a refusal stays in the notebook, where `Grades` finds it.
c.ClearMetadataPreprocessor.preserve_nb_metadata_mask = {("language_info", "name"), "not_graded"}
c.GenerateFeedback.exporter_class = "cure_study.course.feedback.FeedbackPage"
c.FeedbackPage.embed_images = True
c.ExportApp.plugin_class = "cure_study.course.grades.Grades"
c.ClearSolutions.code_stub = {"python": STUB}
