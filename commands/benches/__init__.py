"""One question of the benchmark a module; `commands.bench` asks them. Nothing here decides anything: it measures and shows."""
