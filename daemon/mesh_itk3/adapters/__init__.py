"""The only place with input and output: MESH, ledger, payload store, register, systemd, clock."""
