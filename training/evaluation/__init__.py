"""How good a model is: metrics, calibration error, intervals."""
