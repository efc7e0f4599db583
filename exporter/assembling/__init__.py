"""From members' answers to one bundle: fitted, measured, compared, with its provenance."""
