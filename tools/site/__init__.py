"""The site of the documents: what mkdocs is told beside mkdocs.yml."""
