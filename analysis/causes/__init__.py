"""Why a flow was down: candidates, evidence, and what the kernel's counters say. Pure; the way in is `attribution`."""
