"""The comparison: every method tuned with one budget, then tested on other requests and seeds."""
