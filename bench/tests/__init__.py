"""Tests of the runner: `python3 -m unittest discover -s bench -t bench`. No broker and no load is needed."""
