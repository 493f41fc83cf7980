"""Calibrations: what the lab measures of reference servers, against what is known to be true of them."""
