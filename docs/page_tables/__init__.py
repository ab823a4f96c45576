"""The tables of the pages, a module for each family; each module has a dictionary `TABLES`."""
