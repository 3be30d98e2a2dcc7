"""Labelled texts: the GLUE tasks, their rows from files or the hub, AdvGLUE's pairs, subsets, and
the order of a checkpoint's labels.
"""
