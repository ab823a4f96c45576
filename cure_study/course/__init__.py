"""The course in notebooks/course: the small world its lessons share, and how they are graded."""
