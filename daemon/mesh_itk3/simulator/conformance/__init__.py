"""Conformance in a box: the daemon against a simulated hospital, over a table of cases, with an evidence report."""
