"""The control face of local servers: what tests in any language see of them, and do with them. Off unless asked for."""
