"""Reports and galleries as a page, a PDF or Markdown, in English or French.

Side: login. May import: core, datasets, runs, scans, analysis below.
"""
