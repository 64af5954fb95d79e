"""Runs a model on a stream: source -> mailbox -> preprocess -> backend -> postprocess -> temporal -> sink. No torch."""
