"""Recipes: functions that return the runs of a training; each docstring holds command, hardware, time and result."""
