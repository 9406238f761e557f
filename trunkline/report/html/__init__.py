"""A report as one HTML file that opens offline, for people who have neither Trunkline nor the run."""
