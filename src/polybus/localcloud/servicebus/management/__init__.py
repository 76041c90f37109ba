"""The management API: ATOM over HTTPS, as ServiceBusAdministrationClient speaks it."""
