"""The engine of Ray: a process that alone talks to the cluster; imported only where --engine ray is asked for."""
