"""Files: written whole, told apart as the file system does, and never trusted because of where they lie."""
