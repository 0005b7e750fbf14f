"""The folder that puts a fault into a Python process: see sitecustomize.py."""
