"""A fault campaign: damaged and hostile folders through every verb, by seeds that can be repeated. GANHPC_FAULTS=N makes N times as many."""
