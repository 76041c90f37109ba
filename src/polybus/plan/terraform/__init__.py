"""A plan as Terraform JSON: the same resources, with the references between them."""
