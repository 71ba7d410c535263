"""What a node is: read on the machine itself, and from what others label nodes with."""
