"""Reports and galleries: what run folders hold, as a page, a PDF or Markdown, in English or French"""
