"""Where a version may run, and where it runs best: one small plugin for each question.

Filters name reasons against a node, and only what is certain is one; scores are summed with the
weights of plugins.toml. What a version needs is in its hardware plan.
"""
