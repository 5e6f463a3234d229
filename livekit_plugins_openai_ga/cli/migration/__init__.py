"""What the command `migrate` knows and does; all of it but `files` is text in, findings out."""
