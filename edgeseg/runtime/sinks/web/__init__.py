"""A page in the browser: live pictures with their labels, switches, and charts of how the run goes."""
