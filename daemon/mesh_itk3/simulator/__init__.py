"""A hospital: builds valid ITK3 messages, sends them through MESH and reads the responses."""
