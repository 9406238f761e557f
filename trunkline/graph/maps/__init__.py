"""Which values of a network are feature maps, and which of them a head should read."""
