"""The one error of the simulator."""


class SimulationFailed(Exception):
    """The simulation cannot go on; the text is one line that a person can act on."""
