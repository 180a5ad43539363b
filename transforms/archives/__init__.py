"""Zip, tar and tar.gz read in place: what lies where in them, and the bytes of one member. Nothing is unpacked."""
