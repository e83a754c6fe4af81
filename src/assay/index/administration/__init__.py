"""What an administrator does to an index: one operation each, the same on the data folder and over HTTP."""
