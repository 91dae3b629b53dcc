"""Charts, pictures of images and labels, and the pages that show them."""
