"""The Beam graphs, their options and the command line. Wiring only: what is done lies in `transforms`."""
