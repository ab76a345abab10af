"""The networks, in Keras; what they learn from is in `training.flat` and `training.interactions`."""
