"""Measures of generated images. Each says what it measured, on how many images, and what real images get."""
