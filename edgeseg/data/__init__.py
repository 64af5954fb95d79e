"""Data sets, paired image and mask transforms, and scenes composed of both."""
