"""The parts of `benches/run`: what is started, what is asked of it, and how it is told."""
