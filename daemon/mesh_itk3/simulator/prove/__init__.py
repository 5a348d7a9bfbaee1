"""Trials that kill the daemon and look what became of its messages."""
