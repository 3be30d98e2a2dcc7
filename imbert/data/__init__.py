"""Labelled sentences: tasks, files, subsets and AdvGLUE."""
