"""What the library promises to survive, as cases that can be tried again and again.

The tests of ``tests/robustness`` try each kind a few times; ``bench/soak.py`` goes on for a given time.
"""
