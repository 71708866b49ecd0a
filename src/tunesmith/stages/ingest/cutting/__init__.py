"""Cut single records out of files: what stays is read as it was, with the same ids and places."""
