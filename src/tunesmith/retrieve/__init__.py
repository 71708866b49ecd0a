"""Find passages and cite them."""
