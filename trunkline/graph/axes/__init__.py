"""Which axis of a value is what: followed from the image through every operator, never guessed from its place."""
