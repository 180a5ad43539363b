"""From label files as published to stored masks in the corpus's own integers, with what is known of each structure."""
