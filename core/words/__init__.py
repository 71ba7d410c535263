"""What Longshore says of versions, plans, wakes and nodes, in the words that users read.

The command line and the web page say the same of the same thing, for both take it from here. What
stands here is neither coloured nor laid out, and text of others may still hold what a terminal or a
browser should not get: ``text.harmless`` takes that out, where it is shown.
"""
