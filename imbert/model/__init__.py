"""Models of transformers whose layers are implicit steps: configurations, layers, loading, and what
their solvers report.
"""
