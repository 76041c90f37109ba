"""Services that a stack needs beside SNS and SQS: what is made there is kept and read back, and has no effect.

Roles and policies give nobody rights here, alarms ring for nobody, log groups have no logs, functions don't run. So
provisioning tools can make a whole stack, plan it anew and find no difference, and destroy it.
"""
