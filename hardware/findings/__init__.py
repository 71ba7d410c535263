"""What a file in an image is evidence of; one module for each kind."""
