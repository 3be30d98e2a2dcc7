"""What training adds to the loss for stability: one file for each kind, a registry of them, and
what they share.
"""
