"""Many runs of one plan, and what they say together."""
