"""The cases, one file for each group: rows of data."""
