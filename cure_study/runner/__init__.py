"""Running notebooks: what a run is, its folder, the command line."""
