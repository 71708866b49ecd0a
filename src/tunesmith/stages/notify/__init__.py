"""Tell others what happened: who is told of what, and how a message is signed."""
