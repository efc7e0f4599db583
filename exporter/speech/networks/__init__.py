"""Networks on sound: everything from the samples on is in the graph."""
