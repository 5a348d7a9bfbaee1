"""What each command of the command line does: thin layers over settings, registry, ledger and service."""
