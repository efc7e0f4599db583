"""torch modules of the member families, and what trains them: a spec in exporter.families names it by entry."""
