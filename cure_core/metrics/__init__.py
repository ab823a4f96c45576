"""Measures of recognition, forgetting and membership. Import each from its own file."""
