"""The shipped handlers: ordinary plug-ins, using nothing that a third party cannot."""
