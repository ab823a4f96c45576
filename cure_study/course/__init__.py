"""The course in notebooks/course: the case its lessons share, and how they are graded."""
