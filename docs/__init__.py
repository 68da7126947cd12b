"""The site: its pages, and how it is built (`make docs`)."""
