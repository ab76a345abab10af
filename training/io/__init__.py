"""Reading of training data: tables, interactions, cleaning, and point-in-time cuts."""
