"""One file per step of the path; reading them in the order collect, interpret, dispatch, respond, correlate is the path."""
