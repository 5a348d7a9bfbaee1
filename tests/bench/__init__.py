"""Figures, not tests: nothing here asserts on wall-clock time. `make bench` prints them; `docs/performance.md` keeps them."""
