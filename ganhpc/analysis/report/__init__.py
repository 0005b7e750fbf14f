"""Reports and galleries as a page, a PDF or Markdown, in English or French.

Side: login. May import: core, runs, scans, analysis.results.
"""
