"""The networks, in Keras; what they learn from is in `training.tasks.tabular` and `training.tasks.profiles`."""
