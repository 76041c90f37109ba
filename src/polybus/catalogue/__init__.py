"""What a topology tells other teams: a page that people read, and AsyncAPI that tools read."""
