"""The commands that ask a running agent, or look at what one has left."""
