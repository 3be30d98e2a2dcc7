"""Fine-tuning a model on a task into a run folder: choices, inputs, the trainer, its saved states,
metrics, and the evaluation after it.
"""
