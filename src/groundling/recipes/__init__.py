"""Recipes: functions that return the runs of a training; docstrings hold command, hardware, time, result."""
