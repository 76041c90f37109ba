"""The program of every stack: one bus, on the cloud that `polybus:cloud` names."""

import pulumi

from polybus.provision import from_config

bus = from_config()

# What services read: `pulumi stack output polybus --json > polybus.binding.json`.
pulumi.export("polybus", bus.binding)
# What each service reads, and no more: for its POLYBUS_BINDING.
pulumi.export("bindings", bus.bindings)
# What other infrastructure reads: ARNs, URLs and ids, and the IAM policy of each service on AWS.
for name, value in bus.exports.items():
    pulumi.export(name, value)
