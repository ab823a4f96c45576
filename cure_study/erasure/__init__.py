"""A student as files that others can use."""
