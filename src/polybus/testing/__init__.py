"""What third-party backends and users' tests import: a service under test, the conformance kit, fault injection."""
