"""What came after that paper, one result a file with a `RESULT`."""
