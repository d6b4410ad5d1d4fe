"""What those who follow the event log have in common: positions in it, who waits for news, and what reads it."""
