"""The clouds' official SDKs of other languages, as they come from their registries, against the local servers."""
