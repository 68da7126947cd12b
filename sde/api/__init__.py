"""What a user calls. The only part, with spec/ and the command line, that knows both packages."""
