"""From what a user wishes, an image needs and nodes have to a hardware plan; one rule a module.

Each rule is a pure function: it takes what is known and the plan so far, and returns the plan with
what it adds. The user's own wish wins, and evidence against it is told. Only what is exact or
declared refuses; what is not known becomes a warning. docs/hardware.md lists them all.
"""
