"""One file for images of many sizes: what depends on the image's height and width is computed when the file runs."""
