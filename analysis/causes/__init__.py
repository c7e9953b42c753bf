"""Why a flow was down: suspects, evidence, and what the kernel's counters say. Pure; the way in is `attribution`."""
