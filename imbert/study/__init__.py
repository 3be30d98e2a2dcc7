"""Many runs of one plan: training, attacks and transfers of each, and what they say together, as a
record and as tables.
"""
