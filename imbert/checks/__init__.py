"""Whether a robustness number is an artefact: of gradients that are masked, of an attack that is
weak, or of a solver that gives way.
"""
